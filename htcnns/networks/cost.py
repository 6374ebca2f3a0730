"""What a network costs: its parameters, and the multiplications for one window."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from htcnns.networks import build_network
from htcnns.volume import Shape


@dataclass(frozen=True)
class Cost:
    """The size of a network, and its work for one window.

    Attributes:
        n_parameters: number of parameters.
        n_macs: multiply-accumulate operations for one window, in convolutions, matrix products and attention.
    """

    n_parameters: int
    n_macs: int


def network_cost(name: str, size: Mapping, window: Shape, *, n_in: int = 4, n_out: int = 3) -> Cost:
    """The cost of a network, counted from shapes alone.

    Args:
        name, size, n_in, n_out: as for `build_network`.
        window: edges in voxels.

    Raises:
        SettingsError: as for `build_network`, or a window that the network does not accept.
    """
    with torch.device("meta"):  # shapes alone
        network = build_network(name, size, n_in=n_in, n_out=n_out)
    return Cost(n_parameters(network), n_macs(network, (n_in, *window)))


def n_parameters(*modules: nn.Module) -> int:
    """Number of parameters of these modules."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def n_macs(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-accumulate operations of a network on the device "meta" for an input of shape (n_in, I, J, K)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.empty(1, *shape, device="meta"))
    return int(counter.get_total_flops()) // 2
