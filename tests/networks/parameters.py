"""Counting parameters without allocating them."""

import torch
from torch import nn

from htcnns.networks import NETWORKS, build_network
from htcnns.networks.contract import Network


def on_meta(name: str, size: str) -> Network:
    """A network whose tensors have shapes and no values."""
    with torch.device("meta"):
        return build_network(name, NETWORKS[name].sizes[size])


def n_parameters(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())
