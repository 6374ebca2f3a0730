"""nnU-Net's U-Net with a residual encoder (Isensee 2024, arXiv 2404.09556; network as in nnU-Net v2)."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import torch.nn.functional as F
from torch import Tensor, nn

from htcnns.networks.blocks import NORMS, ConvNormAct, ConvStage, Decoder, Norm, multiple_of, strides_of
from htcnns.networks.contract import Network, require_window
from htcnns.volume import Shape

_PUBLISHED = {  # nnU-Net's plans "ResEnc L" and "XL" for BraTS: 102,353,167 parameters
    "channels": (32, 64, 128, 256, 320, 320),
    "blocks": (1, 3, 4, 6, 6, 6),
    "n_convs_up": (1, 1, 1, 1, 1),
}
_COMPACT = {  # 3.3 M parameters; never trained
    "channels": (16, 32, 64, 96, 96),
    "blocks": (1, 1, 2, 2, 2),
    "n_convs_up": (1, 1, 1, 1),
}
SIZES: Mapping[str, dict] = MappingProxyType({"published": _PUBLISHED, "compact": _COMPACT})
OPTIONAL: Mapping[str, object] = MappingProxyType({"norm": "instance", "halvings": (5, 5, 5)})


class ResUNet(Network):
    """Residual blocks down, transposed and plain convolutions up, heads on the way up.

    Args:
        channels: width of each resolution, full first.
        blocks: residual blocks at each resolution.
        n_convs_up: convolutions at each resolution but the deepest on the way up, full first.
        norm: "instance" as published, or "batch".
        halvings: number of times that each axis is halved; None for once per resolution below the full one.
        n_in, n_out: sequences in, channels of the logits out.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        blocks: tuple[int, ...],
        n_convs_up: tuple[int, ...],
        norm: str = "instance",
        halvings: Shape | None = None,
        n_in: int = 4,
        n_out: int = 3,
    ) -> None:
        super().__init__()
        strides = strides_of(halvings, len(channels))
        self.multiple = multiple_of(strides)
        self.encoder = ResidualEncoder(n_in, channels, blocks=blocks, strides=strides, norm=NORMS[norm])
        self.decoder = Decoder(channels, n_convs=n_convs_up, strides=strides, norm=NORMS[norm], n_out=n_out)

    def deep(self, x: Tensor) -> list[Tensor]:
        """Logits at every resolution of the decoder, full first, for deep supervision."""
        require_window(x.shape[-3:], self.multiple, network="res_unet")
        return self.decoder(self.encoder(x))

    def blocks(self) -> list[nn.Module]:
        """The residual blocks on the way down, and the stages on the way up."""
        in_stages = (block for stage in self.encoder.stages for row in stage.children() for block in row.children())
        return [*in_stages, *self.decoder.stages]

    def encoder_stages(self) -> list[list[nn.Module]]:
        """One stage for each resolution, the first with the stem."""
        first, *others = self.encoder.stages
        return [[self.encoder.stem, first], *([stage] for stage in others)]


class ResidualEncoder(nn.Module):
    """A stem of one convolution, then residual blocks at each resolution.

    Returns:
        One tensor per stage, full resolution first: (B, channels[s], I/2^s, J/2^s, K/2^s).
    """

    def __init__(
        self, n_in: int, channels: tuple[int, ...], *, blocks: tuple[int, ...], strides: Sequence[Shape], norm: Norm
    ) -> None:
        super().__init__()
        self.stem = ConvStage((n_in, channels[0]), norm=norm)
        widths = pairwise((channels[0], *channels))
        self.stages = nn.Sequential(
            *(
                ResidualStage(a, b, n_blocks=n, stride=s, norm=norm)
                for (a, b), n, s in zip(widths, blocks, ((1, 1, 1), *strides), strict=True)
            )
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return outputs


class ResidualStage(nn.Module):
    """Residual blocks in a row; only the first one has a stride and changes the width."""

    def __init__(self, n_in: int, n_out: int, *, n_blocks: int, stride: Shape, norm: Norm) -> None:
        super().__init__()
        if n_blocks < 1:
            raise ValueError("a resolution without blocks")
        first = Block(n_in, n_out, stride=stride, norm=norm)
        self.blocks = nn.Sequential(first, *(Block(n_out, n_out, norm=norm) for _ in range(n_blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x)


class Block(nn.Module):
    """The shortcut plus twice (conv 3x3x3, normalisation), LeakyReLU between and after them.

    The shortcut is average-pooled if the convolutions have a stride; a 1x1x1 convolution follows if the width changes.
    """

    def __init__(self, n_in: int, n_out: int, *, stride: Shape = (1, 1, 1), norm: Norm) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(n_in, n_out, stride=stride, norm=norm)
        self.conv2 = ConvNorm(n_in=n_out, n_out=n_out, kernel=3, norm=norm)
        pool = [nn.AvgPool3d(stride, stride)] if max(stride) > 1 else []
        wider = [ConvNorm(n_in=n_in, n_out=n_out, kernel=1, norm=norm)] if n_in != n_out else []
        self.skip = nn.Sequential(*pool, *wider)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.conv2(self.conv1(x)) + self.skip(x), 0.01, inplace=True)


class ConvNorm(nn.Module):
    """A convolution and normalisation; a kernel of one voxel has no bias."""

    def __init__(self, *, n_in: int, n_out: int, kernel: int, norm: Norm) -> None:
        super().__init__()
        self.conv = nn.Conv3d(n_in, n_out, kernel, padding=kernel // 2, bias=kernel > 1)
        self.norm = norm(n_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))
