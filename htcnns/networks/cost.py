"""What a network costs: its parameters, and the multiplications that one window takes."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from htcnns.networks import build_network
from htcnns.volume import Shape


@dataclass(frozen=True)
class Cost:
    """The size of a network and of its work.

    Attributes:
        n_parameters: how many numbers are learnt.
        n_macs: multiplications that are added up for one window, in convolutions, matrix products and attention.
    """

    n_parameters: int
    n_macs: int


def network_cost(name: str, size: Mapping, window: Shape, *, n_in: int = 4, n_out: int = 3) -> Cost:
    """The cost of a network, counted without any numbers.

    Args:
        name, size, n_in, n_out: as `build_network`.
        window: edges in voxels.

    Raises:
        SettingsError: as `build_network`, or a window that the network does not take.
    """
    with torch.device("meta"):  # its shapes alone
        network = build_network(name, size, n_in=n_in, n_out=n_out)
    return Cost(n_parameters(network), n_macs(network, (n_in, *window)))


def n_parameters(*modules: nn.Module) -> int:
    """How many numbers these modules learn."""
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def n_macs(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiplications that a network on the device "meta" adds up over an input of that shape (n_in, I, J, K)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.empty(1, *shape, device="meta"))
    return int(counter.get_total_flops()) // 2
