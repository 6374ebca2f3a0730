"""Counting parameters and multiplications without allocating them."""

import torch

from htcnns.networks import NETWORKS, build_network, cost
from htcnns.networks.contract import Network
from htcnns.networks.cost import n_parameters

__all__ = ["n_macs", "n_parameters", "on_meta"]


def on_meta(name: str, size: str, *, n_out: int = 3) -> Network:
    """A network whose tensors have shapes and no values."""
    with torch.device("meta"):
        return build_network(name, NETWORKS[name].sizes[size], n_out=n_out)


def n_macs(network: Network) -> int:
    """Multiply-accumulates of a network on the device "meta" over a window of 128 voxels per edge."""
    return cost.n_macs(network, (4, 128, 128, 128))
