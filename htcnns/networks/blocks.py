"""What two networks share: convolution, normalisation and activation in a row, and the plain U-Net's encoder.

Names in the state dict are those of nnU-Net v2's dynamic-network-architectures, so that an importer is a rename.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Callable[[int], nn.Module]


class InstanceNorm(nn.Module):
    """Instance normalisation with scale and shift, as nnU-Net's InstanceNorm3d(affine=True, eps=1e-5).

    A batch of one goes through batch normalisation with its own statistics: the same numbers, but that kernel keeps
    channels-last and its backward pass is ten times quicker on a CPU than group or instance normalisation's.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 1:
            return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=1e-5)
        return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=1e-5)


NORMS: Mapping[str, Norm] = MappingProxyType({"batch": nn.BatchNorm3d, "instance": InstanceNorm})


class ConvNormAct(nn.Module):
    """Conv 3x3x3 with bias, normalisation, LeakyReLU 0.01; the stride sits in the convolution."""

    def __init__(self, n_in: int, n_out: int, *, stride: int, norm: Norm) -> None:
        super().__init__()
        self.conv = nn.Conv3d(n_in, n_out, 3, stride=stride, padding=1)
        self.norm = norm(n_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), 0.01, inplace=True)


class ConvStage(nn.Module):
    """Several ConvNormAct in a row; only the first one strides and changes the width."""

    def __init__(self, n_in: int, n_out: int, *, n_convs: int, stride: int, norm: Norm) -> None:
        super().__init__()
        widths = [n_in] + [n_out] * n_convs
        strides = [stride] + [1] * (n_convs - 1)
        self.convs = nn.Sequential(
            *(ConvNormAct(a, b, stride=s, norm=norm) for a, b, s in zip(widths[:-1], widths[1:], strides, strict=True))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x)


class Encoder(nn.Module):
    """The plain U-Net's encoder: one ConvStage of `n_convs[s]` a resolution; all but the first halve the edge.

    Returns:
        One tensor per stage, full resolution first: (B, channels[s], I/2^s, J/2^s, K/2^s).
    """

    def __init__(self, n_in: int, channels: tuple[int, ...], *, n_convs: tuple[int, ...], norm: Norm) -> None:
        super().__init__()
        widths = (n_in, *channels)
        self.stages = nn.Sequential(
            *(
                nn.Sequential(ConvStage(widths[s], widths[s + 1], n_convs=n, stride=1 if s == 0 else 2, norm=norm))
                for s, n in enumerate(n_convs)
            )
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs
