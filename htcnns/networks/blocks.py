"""Layers that U-Nets share: convolution, normalisation and activation in a row, an encoder of these, and a decoder.

Names in the state dict match nnU-Net v2's dynamic-network-architectures, so that an importer only has to rename keys.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import prod
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htcnns.volume import Shape

Norm = Callable[[int], nn.Module]


class InstanceNorm(nn.Module):
    """Instance normalisation with scale and shift, as nnU-Net's InstanceNorm3d(affine=True, eps=1e-5).

    A batch of one goes through batch normalisation with its own statistics: the same result, but that kernel keeps
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

    def __init__(self, n_in: int, n_out: int, *, stride: int | Shape, norm: Norm) -> None:
        super().__init__()
        self.conv = nn.Conv3d(n_in, n_out, 3, stride=stride, padding=1)
        self.norm = norm(n_out)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), 0.01, inplace=True)


class ConvStage(nn.Module):
    """Several ConvNormAct in a row, from each width to the next; only the first one has a stride."""

    def __init__(self, widths: Sequence[int], *, stride: int | Shape = 1, norm: Norm) -> None:
        super().__init__()
        strides = [stride] + [1] * (len(widths) - 2)
        self.convs = nn.Sequential(
            *(ConvNormAct(a, b, stride=s, norm=norm) for (a, b), s in zip(pairwise(widths), strides, strict=True))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.convs(x)


class Encoder(nn.Module):
    """The plain U-Net's encoder: one ConvStage of `n_convs[s]` convolutions per resolution, full resolution first.

    Args:
        strides: strides of all stages after the first.

    Returns:
        One tensor per stage, full resolution first: (B, channels[s], I/2^s, J/2^s, K/2^s).
    """

    def __init__(
        self,
        n_in: int,
        channels: tuple[int, ...],
        *,
        n_convs: tuple[int, ...],
        norm: Norm,
        strides: Sequence[Shape],
    ) -> None:
        super().__init__()
        widths = (n_in, *channels)
        by_stage: list[int | Shape] = [1, *strides]
        self.stages = nn.Sequential(
            *(
                nn.Sequential(ConvStage((widths[s], *[widths[s + 1]] * n), stride=by_stage[s], norm=norm))
                for s, n in enumerate(n_convs)
            )
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


class Decoder(nn.Module):
    """The way up, deepest first: transposed convolution, concatenation (upsampled first, skip second), stage, head.

    Args:
        channels: width of each resolution, full first.
        n_convs: convolutions at each resolution but the deepest, full first.
        strides: strides of the encoder's stages after the first.
        narrowing: how many times narrower the output of each stage is than its skip.
        n_out: channels of the logits.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        *,
        n_convs: tuple[int, ...],
        strides: Sequence[Shape],
        norm: Norm,
        n_out: int,
        narrowing: int = 1,
    ) -> None:
        super().__init__()
        widths = channels[-2::-1]  # deepest first, like all lists here
        if any(width % narrowing for width in widths):
            raise ValueError(f"widths {widths} do not divide by {narrowing}")
        results = [width // narrowing for width in widths]
        below = (channels[-1], *results[:-1])
        up = zip(below, widths, strides[::-1], strict=True)
        self.transpconvs = nn.ModuleList(nn.ConvTranspose3d(deep, wide, s, stride=s) for deep, wide, s in up)
        self.stages = nn.ModuleList(
            ConvStage((2 * wide, *[wide] * (n - 1), narrow), norm=norm)
            for wide, narrow, n in zip(widths, results, n_convs[::-1], strict=True)
        )
        self.seg_layers = nn.ModuleList(nn.Conv3d(narrow, n_out, 1) for narrow in results)

    def forward(self, skips: list[Tensor]) -> list[Tensor]:
        x = skips[-1]
        logits = []
        for u, skip in enumerate(skips[-2::-1]):
            x = torch.cat((self.transpconvs[u](x), skip), dim=1)  # (B, 2C, 2I, 2J, 2K)
            x = self.stages[u](x)
            logits.append(self.seg_layers[u](x))
        return logits[::-1]


def strides_of(halvings: Shape | None, n_stages: int) -> list[Shape]:
    """Strides of all stages after the first; each axis is halved in the first `halvings` of them.

    Args:
        halvings: number of halvings of each axis; None halves all axes in every stage.

    Raises:
        ValueError: more halvings than there are stages for, or a stage that halves nothing.
    """
    i, j, k = [n_stages - 1] * 3 if halvings is None else halvings
    if max(i, j, k) != n_stages - 1:
        raise ValueError(f"{max(i, j, k)} halvings in {n_stages} resolutions")
    return [(1 + (s < i), 1 + (s < j), 1 + (s < k)) for s in range(n_stages - 1)]


def multiple_of(strides: Sequence[Shape]) -> int | Shape:
    """The number that window edges must be multiples of with these strides; one per axis unless all agree."""
    i, j, k = (prod(stride[axis] for stride in strides) for axis in range(3))
    return i if i == j == k else (i, j, k)
