"""V-Net (Milletari 2016, arXiv 1606.04797) as in MONAI: 5x5x5 convolutions in residual stages.

As in MONAI, each sequence is also added to the first features, the last 5x5x5 convolution already has the width of the
logits, and dropout drops whole channels: of every skip, and at the start of the two deepest stages down and up.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htcnns.networks.blocks import NORMS, Norm
from htcnns.networks.contract import Network, require_window

_PUBLISHED = {  # 45,607,906 parameters; 45,615,928 with the five labels that MONAI's count has
    "channels": (16, 32, 64, 128, 256),
    "n_convs": (1, 2, 3, 2),
    "n_convs_up": (2, 2, 1, 1),
    "norm": "batch",
    "dropout": 0.5,
}
_COMPACT = {  # 3.7 M parameters; half as wide at full resolution, where 5x5x5 convolutions cost most
    "channels": (8, 16, 32, 48, 64),
    "n_convs": (1, 1, 2, 2),
    "n_convs_up": (1, 1, 1, 1),
    "norm": "instance",
    "dropout": 0.0,
}
SIZES: Mapping[str, dict] = MappingProxyType({"published": _PUBLISHED, "compact": _COMPACT})
HEAD_NORMS: Mapping[str, Norm] = MappingProxyType({"batch": nn.BatchNorm3d, "instance": nn.Identity})
N_DROPPED = 2  # deepest stages on the way down, and on the way up, that start with dropout


class VNet(Network):
    """Residual stages on the way down and up; strided 2x2x2 convolutions down, transposed ones up.

    Args:
        channels: width of each resolution on the way down, full first; the edges must be multiples of 2^(len - 1).
        n_convs: convolutions at each resolution below the full one, which has one.
        n_convs_up: convolutions at each resolution on the way up, deepest first.
        norm: "batch" as published, or "instance", which the head omits: it would stretch a window without tumour to
            the contrast of one with tumour.
        dropout: rate in training.
        n_in, n_out: sequences in, channels of the logits out.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        n_convs: tuple[int, ...],
        n_convs_up: tuple[int, ...],
        norm: str,
        dropout: float,
        n_in: int = 4,
        n_out: int = 3,
    ) -> None:
        super().__init__()
        self.multiple = 2 ** (len(channels) - 1)
        rates = [dropout if s < N_DROPPED else 0.0 for s in range(len(n_convs))]  # deepest first
        self.stem = Stem(n_in, channels[0], NORMS[norm])
        self.downs = nn.ModuleList(
            Down(a, b, n_convs=n, norm=NORMS[norm], dropout=rate)
            for a, b, n, rate in zip(channels[:-1], channels[1:], n_convs, rates[::-1], strict=True)
        )
        skips = channels[-2::-1]
        widths = (channels[-1], *(2 * skip for skip in skips))
        self.ups = nn.ModuleList(
            Up(wide, skip, n_convs=n, norm=NORMS[norm], dropout=(rate, dropout))
            for wide, skip, n, rate in zip(widths[:-1], skips, n_convs_up, rates, strict=True)
        )
        self.head = nn.Sequential(
            *conv_norm(widths[-1], n_out, HEAD_NORMS[norm]), nn.ELU(inplace=True), nn.Conv3d(n_out, n_out, 1)
        )

    def deep(self, x: Tensor) -> list[Tensor]:
        """The logits at full resolution only: V-Net has no deep supervision."""
        require_window(x.shape[-3:], self.multiple, network="vnet")
        x = self.stem(x)
        skips = []
        for down in self.downs:
            skips.append(x)
            x = down(x)  # (B, 2C, I/2, J/2, K/2)
        for up, skip in zip(self.ups, skips[::-1], strict=True):
            x = up(x, skip)
        return [self.head(x)]

    def blocks(self) -> list[nn.Module]:
        """Stem, stages on the way down and up, head."""
        return [self.stem, *self.downs, *self.ups, self.head]

    def encoder_stages(self) -> list[list[nn.Module]]:
        """The stem, then one stage for each resolution."""
        return [[stage] for stage in (self.stem, *self.downs)]


class Stem(nn.Module):
    """One convolution at full resolution, to whose channels the sequences are added, repeated in turn.

    Each channel is thus tied to one sequence: weights transferred to other sequences have more to unlearn.
    """

    def __init__(self, n_in: int, n_out: int, norm: Norm) -> None:
        super().__init__()
        self.conv, self.norm = conv_norm(n_in, n_out, norm)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        n_rounds = math.ceil(y.shape[1] / x.shape[1])
        return F.elu(y + x.repeat(1, n_rounds, 1, 1, 1)[:, : y.shape[1]], inplace=True)


class Down(nn.Module):
    """Conv 2x2x2 with stride 2, then several convolutions with a shortcut around them."""

    def __init__(self, n_in: int, n_out: int, *, n_convs: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.down = nn.Conv3d(n_in, n_out, 2, stride=2, bias=False)
        self.norm = norm(n_out)
        self.dropout = nn.Dropout3d(dropout)
        self.convs = convolutions(n_out, n_convs, norm)

    def forward(self, x: Tensor) -> Tensor:
        x = F.elu(self.norm(self.down(x)), inplace=True)  # (B, n_out, I/2, J/2, K/2)
        return F.elu(x + self.convs(self.dropout(x)), inplace=True)


class Up(nn.Module):
    """Transposed conv 2x2x2, concatenation (upsampled first, skip second), convolutions with a shortcut around them.

    Args:
        n_in: width of the resolution below.
        n_skip: width of the skip and of the upsampled features; the result is twice as wide.
        dropout: rates for the resolution below and for the skip.
    """

    def __init__(self, n_in: int, n_skip: int, *, n_convs: int, norm: Norm, dropout: tuple[float, float]) -> None:
        super().__init__()
        self.dropouts = nn.ModuleList(nn.Dropout3d(rate) for rate in dropout)
        self.transpconv = nn.ConvTranspose3d(n_in, n_skip, 2, stride=2)
        self.norm = norm(n_skip)
        self.convs = convolutions(2 * n_skip, n_convs, norm)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.elu(self.norm(self.transpconv(self.dropouts[0](x))), inplace=True)  # (B, n_skip, 2I, 2J, 2K)
        x = torch.cat((x, self.dropouts[1](skip)), dim=1)
        return F.elu(x + self.convs(x), inplace=True)


def convolutions(channels: int, n_convs: int, norm: Norm) -> nn.Sequential:
    """Conv 5x5x5, normalisation and ELU, `n_convs` times."""
    return nn.Sequential(
        *(part for _ in range(n_convs) for part in (*conv_norm(channels, channels, norm), nn.ELU(inplace=True)))
    )


def conv_norm(n_in: int, n_out: int, norm: Norm) -> tuple[nn.Module, nn.Module]:
    """Conv 5x5x5 without bias, and normalisation."""
    return nn.Conv3d(n_in, n_out, 5, padding=2, bias=False), norm(n_out)
