"""Less memory for some more time: the activations inside a network's blocks are recomputed in the backward pass.

Only the input of a block is kept. Gradients, dropout and running statistics are the same as without recomputation.
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
    """Context in which blocks keep only their input for the backward pass; that pass may run after the context ends."""
    with ExitStack() as stack:
        for block in network.blocks() if enabled else ():
            stack.enter_context(_recomputed(block))
        yield


@contextmanager
def _recomputed(block: nn.Module) -> Iterator[None]:
    """Context in which this one module's `forward` keeps only its input; the backward pass runs it again."""
    plain: Callable[..., Any] = block.forward
    contexts = partial(_first_and_second, block)
    block.forward = lambda *inputs: checkpoint(plain, *inputs, use_reentrant=False, context_fn=contexts)
    try:
        yield
    finally:
        del block.forward


def _first_and_second(block: nn.Module) -> tuple:
    """The contexts of the first forward pass and of its recomputation."""
    return nullcontext(), _still_statistics(block)


@contextmanager
def _still_statistics(block: nn.Module) -> Iterator[None]:
    """Context in which batch normalisation leaves its running statistics alone, so that they count a batch once."""
    norms = [each for each in block.modules() if isinstance(each, nn.BatchNorm3d)]
    before = [(each.momentum, each.num_batches_tracked) for each in norms]
    for each in norms:
        each.momentum, each.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for each, (momentum, n_batches) in zip(norms, before, strict=True):
            each.momentum, each.num_batches_tracked = momentum, n_batches
