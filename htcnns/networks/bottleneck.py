"""A network's features of a window at its lowest resolution, as a few numbers."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from htcnns.networks.contract import Network


def bottleneck_means(network: Network, window: Tensor) -> Tensor:
    """(B, C) float32: the mean of each channel of the encoder's last stage over a (B, n_in, I, J, K) window."""
    with _deepest_output(network) as outputs, torch.inference_mode():
        network(window)
    return outputs[-1].float().mean((2, 3, 4))


@contextmanager
def _deepest_output(network: Network) -> Iterator[list[Tensor]]:
    """A list that collects the outputs of the encoder's last stage, one per part."""
    outputs: list[Tensor] = []
    hooks = [
        part.register_forward_hook(lambda _, __, output: outputs.append(output))
        for part in network.encoder_stages()[-1]
    ]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()
