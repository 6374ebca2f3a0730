"""SegResNet (Myronenko 2018, arXiv 1810.11654) as in MONAI: residual blocks, most of them on the way down.

Without the paper's second decoder, which only training needs. Skips are added, and the way up only learns one narrowing
convolution and the blocks of each resolution.
"""

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from types import MappingProxyType

from torch import Tensor, nn

from htcnns.networks.contract import Network, require_window

_PUBLISHED = {  # that of MONAI's bundle for BraTS 2018: 4,702,227 parameters
    "channels": (16, 32, 64, 128),
    "blocks": (1, 2, 2, 4),
    "blocks_up": (1, 1, 1),
    "groups": 8,
    "dropout": 0.2,
}
_COMPACT = {**_PUBLISHED, "channels": (8, 16, 32, 64)}  # a quarter of the parameters, 1,176,843
SIZES: Mapping[str, dict] = MappingProxyType({"published": _PUBLISHED, "compact": _COMPACT})


class SegResNet(Network):
    """Residual blocks at each resolution; strided convolutions down, trilinear interpolation up.

    Args:
        channels: width of each resolution, full first; the edges must be multiples of 2^(len - 1).
        blocks: residual blocks at each resolution on the way down.
        blocks_up: residual blocks at each resolution on the way up, deepest first.
        groups: groups of the normalisation; each width must be a multiple of it.
        dropout: rate in training, for whole channels of the stem's output.
        n_in, n_out: sequences in, channels of the logits out.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        blocks: tuple[int, ...],
        blocks_up: tuple[int, ...],
        groups: int,
        dropout: float,
        n_in: int = 4,
        n_out: int = 3,
    ) -> None:
        super().__init__()
        self.multiple = 2 ** (len(channels) - 1)
        block = partial(Block, groups=groups)
        self.stem = nn.Sequential(conv(n_in, channels[0]), nn.Dropout3d(dropout))
        heads = [nn.Identity(), *(conv(a, b, stride=2) for a, b in pairwise(channels))]
        self.downs = nn.ModuleList(
            nn.Sequential(head, *(block(width) for _ in range(n)))
            for head, width, n in zip(heads, channels, blocks, strict=True)
        )
        self.narrow = nn.ModuleList(up(a, b) for a, b in pairwise(channels[::-1]))
        self.ups = nn.ModuleList(
            nn.Sequential(*(block(width) for _ in range(n)))
            for width, n in zip(channels[-2::-1], blocks_up, strict=True)
        )
        self.head = nn.Sequential(
            nn.GroupNorm(groups, channels[0]), nn.ReLU(inplace=True), nn.Conv3d(channels[0], n_out, 1)
        )

    def deep(self, x: Tensor) -> list[Tensor]:
        """The logits at full resolution only: SegResNet has no deep supervision."""
        require_window(x.shape[-3:], self.multiple, network="segresnet")
        x = self.stem(x)
        skips = []
        for down in self.downs:
            x = down(x)  # (B, C, I, J, K), then (B, 2C, I/2, J/2, K/2), and so on
            skips.append(x)
        for narrow, blocks, skip in zip(self.narrow, self.ups, skips[-2::-1], strict=True):
            x = blocks(narrow(x) + skip)
        return [self.head(x)]

    def blocks(self) -> list[nn.Module]:
        """The residual blocks on the way down and up, each with the resizing before it, and the head."""
        return [*self.downs, *self.narrow, *self.ups, self.head]

    def encoder_stages(self) -> list[list[nn.Module]]:
        """The blocks of each resolution, the first with the stem; full resolution first."""
        first, *others = self.downs
        return [[self.stem, first], *([down] for down in others)]


class Block(nn.Module):
    """Group normalisation, ReLU and convolution, twice; the input is added."""

    def __init__(self, width: int, *, groups: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*norm_relu_conv(width, groups), *norm_relu_conv(width, groups))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + x


def conv(n_in: int, n_out: int, *, stride: int = 1) -> nn.Module:
    """Conv 3x3x3 without bias; this network has no other 3x3x3 convolution."""
    return nn.Conv3d(n_in, n_out, 3, stride=stride, padding=1, bias=False)


def norm_relu_conv(width: int, groups: int) -> tuple[nn.Module, ...]:
    """Half of a block."""
    return nn.GroupNorm(groups, width), nn.ReLU(inplace=True), conv(width, width)


def up(n_in: int, n_out: int) -> nn.Module:
    """Conv 1x1x1 without bias to the new width, then upsampling by 2."""
    return nn.Sequential(nn.Conv3d(n_in, n_out, 1, bias=False), nn.Upsample(scale_factor=2, mode="trilinear"))
