"""Less memory for some more time: what is inside a network's blocks is computed again in the backward pass.

Only what goes into a block is kept. Gradients, dropout and running statistics are those of a plain step.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from htcnns.networks.contract import Network


@contextmanager
def recomputed_blocks(network: Network, *, enabled: bool = True) -> Iterator[None]:
    """Inside, every block of the network keeps only its input for the backward pass, which may follow outside."""
    with ExitStack() as stack:
        for block in network.blocks() if enabled else ():
            stack.enter_context(_recomputed(block))
        yield


@contextmanager
def _recomputed(block: nn.Module) -> Iterator[None]:
    """Replaces the block's own forward, on this very module and for as long as it lasts."""
    plain: Callable[..., Any] = block.forward
    contexts = partial(_first_and_second, block)
    block.forward = lambda *inputs: checkpoint(plain, *inputs, use_reentrant=False, context_fn=contexts)
    try:
        yield
    finally:
        del block.forward


def _first_and_second(block: nn.Module) -> tuple:
    """What the forward pass runs under the first time, and when it is computed again."""
    return nullcontext(), _still_statistics(block)


@contextmanager
def _still_statistics(block: nn.Module) -> Iterator[None]:
    """Batch normalisation takes its batch into the running statistics once, not twice."""
    norms = [each for each in block.modules() if isinstance(each, nn.BatchNorm3d)]
    before = [(each.momentum, each.num_batches_tracked) for each in norms]
    for each in norms:
        each.momentum, each.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for each, (momentum, n_batches) in zip(norms, before, strict=True):
            each.momentum, each.num_batches_tracked = momentum, n_batches
