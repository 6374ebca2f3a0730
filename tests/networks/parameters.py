"""Counting parameters without allocating them."""

import torch
from torch import nn

from htcnns.networks import SIZES, build_network


def on_meta(name: str, size: str) -> nn.Module:
    """A network whose tensors have shapes and no values."""
    with torch.device("meta"):
        return build_network(name, SIZES[name][size])


def n_parameters(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())
