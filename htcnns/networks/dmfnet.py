"""DMFNet (Chen 2019, arXiv 1904.03355): thin units of grouped and dilated convolutions, from half the resolution on.

Two additions can be switched on, as described in their paper (Zhu 2024, doi 10.1016/j.patcog.2024.110553): MIE weights
the sequences before the first convolution, SIE the features about to be down-sampled. Their published code differs from
the paper: its MIE has no normalisation, and its SIE mixes four neighbouring channels of one scale instead of four
scales of one channel. Its SIE also follows every 1x1x1 convolution, on the way up too, so that network has 4.279 M
parameters and 33.0 GMAC, ours 3.912 M and 27.5 GMAC.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise, zip_longest
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htcnns.networks.blocks import NORMS, Norm
from htcnns.networks.contract import Network, require_window

_PUBLISHED = {  # 3,875,858 parameters; 3,875,890 with the published head for four labels
    "channels": (32, 128, 256, 384),
    "groups": 16,
    "norm": "batch",
    "mie": False,
    "sie": False,
}
_COMPACT = {**_PUBLISHED, "norm": "instance"}
SIZES: Mapping[str, dict] = MappingProxyType({"published": _PUBLISHED, "compact": _COMPACT})
DILATIONS = (1, 2, 3)  # of the parallel convolutions in all stages of the encoder but the deepest
SCALES = ((1, 1), (3, 1), (3, 2), (3, 4))  # kernel and dilation of each convolution in SIE
N_SPREAD = 4  # channels that MIE computes from each sequence
N_SQUEEZED = 2  # hidden channels from which MIE computes the weights of the sequences


class DMFNet(Network):
    """A stem that halves the edge, stages of units that each halve it, one unit for each resolution on the way up.

    Args:
        channels: width of each resolution, from half the edge on; the edges must be multiples of 2^len.
        groups: groups of the 3x3x3 convolutions; each width must be a multiple of it.
        norm: "batch" as published, or "instance", which does not depend on the batches of the training.
        mie: whether the sequences are weighted first.
        sie: whether features are weighted voxel by voxel before they are down-sampled.
        n_in, n_out: sequences in, channels of the logits out.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        groups: int,
        norm: str,
        mie: bool,
        sie: bool,
        n_in: int = 4,
        n_out: int = 3,
    ) -> None:
        super().__init__()
        self.multiple = 2 ** len(channels)
        enhance = SpatialEnhancement if sie else nn.Identity
        unit = partial(Unit, groups=groups, norm=NORMS[norm])
        self.mie = SequenceEnhancement(n_in, NORMS[norm]) if mie else nn.Identity()
        self.stem = nn.Conv3d(n_in, channels[0], 3, stride=2, padding=1, bias=False)
        wide, deepest = channels[-2:]
        self.downs = nn.ModuleList(stage(unit, (a, b, b, b), DILATIONS) for a, b in pairwise(channels[:-1]))
        self.downs.append(stage(unit, (wide, deepest, deepest, wide), (1,)))
        self.enhancements = nn.ModuleList(enhance(c) for c in channels[:-1])
        skips = channels[-2::-1]
        self.ups = nn.ModuleList(
            unit(below + skip, skip) for below, skip in zip((wide, *skips[:-1]), skips, strict=True)
        )
        self.head = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="trilinear"), nn.Conv3d(channels[0], n_out, 1, bias=False)
        )

    def deep(self, x: Tensor) -> list[Tensor]:
        """The logits at full resolution only: DMFNet has no deep supervision."""
        require_window(x.shape[-3:], self.multiple, network="dmfnet")
        x = self.stem(self.mie(x))  # (B, C, I/2, J/2, K/2)
        skips = []
        for down, enhancement in zip(self.downs, self.enhancements, strict=True):
            skips.append(enhancement(x))
            x = down(skips[-1])  # (B, ., I/4, J/4, K/4), and so on
        for up, skip in zip(self.ups, skips[::-1], strict=True):
            x = F.interpolate(x, scale_factor=2, mode="trilinear")
            x = up(torch.cat((skip, x), dim=1))
        return [self.head(x)]

    def blocks(self) -> list[nn.Module]:
        """MIE and SIE, the units on the way down and up, and the head."""
        return [
            self.mie,
            *self.enhancements,
            *(unit for down in self.downs for unit in down.children()),
            *self.ups,
            self.head,
        ]

    def encoder_stages(self) -> list[list[nn.Module]]:
        """MIE, stem and first SIE, then the units and the next SIE of each resolution; half resolution first."""
        first, *others = self.enhancements
        stages = zip_longest(self.downs, others, fillvalue=nn.Identity())
        return [[self.mie, self.stem, first], *([down, enhancement] for down, enhancement in stages)]


class Unit(nn.Module):
    """Thin 1x1x1 convolutions, one or several grouped 3x3x3 ones, a grouped 3x3x1 one, and a shortcut around all.

    Args:
        n_in, n_out: width of the input and output.
        groups: groups of the 3x3x3 and 3x3x1 convolutions.
        dilations: dilations of the parallel 3x3x3 convolutions; a single one has no learnt weight.
        stride: 2 halves the edge.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        groups: int,
        norm: Norm,
        dilations: tuple[int, ...] = (1,),
        stride: int = 1,
    ) -> None:
        super().__init__()
        if n_in < 4:
            raise ValueError(f"a quarter of {n_in} channels is less than one")
        middle = min(n_in, n_out)
        self.narrow = norm_relu_conv(n_in, n_in // 4, 1, norm=norm)
        self.widen = norm_relu_conv(n_in // 4, middle, 1, norm=norm)
        self.convs = nn.ModuleList(
            norm_relu_conv(middle, n_out, 3, norm=norm, stride=stride, padding=d, dilation=d, groups=groups)
            for d in dilations
        )
        self.weights = nn.Parameter(torch.ones(len(dilations))) if len(dilations) > 1 else None
        self.flat = norm_relu_conv(n_out, n_out, (3, 3, 1), norm=norm, padding=(1, 1, 0), groups=groups)
        self.shortcut: nn.Module = nn.Identity()
        if (n_in, stride) != (n_out, 1):
            self.shortcut = norm_relu_conv(n_in, n_out, stride, norm=norm, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.widen(self.narrow(x))
        parts = [conv(y) for conv in self.convs]  # (B, n_out, I/stride, ...) each
        if self.weights is not None:
            parts = [weight * part for weight, part in zip(self.weights, parts, strict=True)]
        return self.flat(sum(parts[1:], parts[0])) + self.shortcut(x)


class SequenceEnhancement(nn.Module):
    """MIE: features of each sequence, then of all together, weighted as a whole and voxel by voxel (scSE, Roy 2018).

    There is no ReLU between the two layers that weight whole sequences: for a quarter of all initialisations, both
    channels between them would be dead.
    """

    def __init__(self, n_sequences: int, norm: Norm) -> None:
        super().__init__()
        n_spread = N_SPREAD * n_sequences
        self.spread = conv_norm_relu(n_sequences, n_spread, norm, groups=n_sequences)
        self.join = conv_norm_relu(n_spread, n_sequences, norm)
        self.weigh_sequences = nn.Sequential(
            nn.AdaptiveAvgPool3d(1),
            nn.Conv3d(n_sequences, N_SQUEEZED, 1, bias=False),
            nn.Conv3d(N_SQUEEZED, n_sequences, 1, bias=False),
            nn.Sigmoid(),
        )
        self.weigh_voxels = nn.Sequential(nn.Conv3d(n_sequences, 1, 1, bias=False), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        x = self.join(self.spread(x))
        return x * self.weigh_sequences(x) + x * self.weigh_voxels(x)


class SpatialEnhancement(nn.Module):
    """SIE: features plus features times a weight from 0 to 1, computed by each channel from itself at four scales."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scales = nn.ModuleList(
            nn.Conv3d(channels, channels, k, padding=d * (k // 2), dilation=d, groups=channels, bias=False)
            for k, d in SCALES
        )
        self.join = nn.Conv3d(len(SCALES) * channels, channels, 1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        scales = torch.stack([scale(x) for scale in self.scales], dim=2)  # (B, C, 4, I, J, K)
        return x + x * self.join(scales.flatten(1, 2)).sigmoid()  # a group is a channel at all its scales


def stage(unit: Callable[..., Unit], widths: tuple[int, ...], dilations: tuple[int, ...]) -> nn.Sequential:
    """A unit for each step from one width to the next; the first one halves the edge."""
    steps = enumerate(pairwise(widths))
    return nn.Sequential(*(unit(a, b, dilations=dilations, stride=1 if u else 2) for u, (a, b) in steps))


def norm_relu_conv(n_in: int, n_out: int, kernel: int | tuple[int, int, int], *, norm: Norm, **how: Any) -> nn.Module:
    """Normalisation, ReLU, convolution without bias: the only layers of a unit."""
    return nn.Sequential(norm(n_in), nn.ReLU(inplace=True), nn.Conv3d(n_in, n_out, kernel, bias=False, **how))


def conv_norm_relu(n_in: int, n_out: int, norm: Norm, *, groups: int = 1) -> nn.Module:
    """Conv 3x3x3 without bias, normalisation, ReLU."""
    conv = nn.Conv3d(n_in, n_out, 3, padding=1, groups=groups, bias=False)
    return nn.Sequential(conv, norm(n_out), nn.ReLU(inplace=True))
