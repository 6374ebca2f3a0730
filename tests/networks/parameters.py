"""Counting parameters and multiplications without allocating them."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from htcnns.networks import NETWORKS, build_network
from htcnns.networks.contract import Network


def on_meta(name: str, size: str, *, n_out: int = 3) -> Network:
    """A network whose tensors have shapes and no values."""
    with torch.device("meta"):
        return build_network(name, NETWORKS[name].sizes[size], n_out=n_out)


def n_parameters(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def n_macs(network: Network) -> int:
    """Multiplications that are added up over a window of 128 voxels, by a network on the device "meta"."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.empty(1, 4, 128, 128, 128, device="meta"))
    return counter.get_total_flops() // 2
