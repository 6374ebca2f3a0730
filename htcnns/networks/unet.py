"""nnU-Net's plain 3-D U-Net (Isensee 2021, doi 10.1038/s41592-020-01008-z; network as in nnU-Net v2)."""

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from htcnns.networks.blocks import ConvStage, Encoder, InstanceNorm
from htcnns.networks.contract import Network, require_window

_PUBLISHED = {  # nnU-Net's plan for BraTS: 31,198,991 parameters
    "channels": (32, 64, 128, 256, 320, 320),
    "n_convs": (2, 2, 2, 2, 2, 2),
}
_COMPACT = {  # 4.1 M parameters; a CPU computes 16 channels in the time of 8
    "channels": (16, 32, 64, 128, 160),
    "n_convs": (1, 2, 2, 2, 2),
}
SIZES: Mapping[str, dict] = MappingProxyType({"published": _PUBLISHED, "compact": _COMPACT})


class UNet(Network):
    """Plain convolutions, instance normalisation, strided convolutions down, transposed ones up, heads on the way up.

    Args:
        channels: width of each resolution, full first; the edges must be multiples of 2^(len - 1).
        n_convs: convolutions at each resolution, the same on the way down and up.
        n_in, n_out: sequences in, channels of the logits out.
    """

    def __init__(self, *, channels: tuple[int, ...], n_convs: tuple[int, ...], n_in: int = 4, n_out: int = 3) -> None:
        super().__init__()
        self.multiple = 2 ** (len(channels) - 1)
        self.encoder = Encoder(n_in, channels, n_convs=n_convs, norm=InstanceNorm)
        self.decoder = UNetDecoder(channels, n_convs, n_out)

    def deep(self, x: Tensor) -> list[Tensor]:
        """Logits at every resolution of the decoder, full first, for deep supervision."""
        require_window(x.shape[-3:], self.multiple, network="unet")
        return self.decoder(self.encoder(x))

    def blocks(self) -> list[nn.Module]:
        """The stages on the way down and up."""
        return [*self.encoder.stages, *self.decoder.stages]


class UNetDecoder(nn.Module):
    """From the deepest up: transposed convolution, concatenation (upsampled first, skip second), stage, head."""

    def __init__(self, channels: tuple[int, ...], n_convs: tuple[int, ...], n_out: int) -> None:
        super().__init__()
        ups = list(zip(channels[:0:-1], channels[-2::-1], strict=True))  # (deeper, shallower), deepest first
        self.transpconvs = nn.ModuleList(nn.ConvTranspose3d(deep, wide, 2, stride=2) for deep, wide in ups)
        self.stages = nn.ModuleList(
            ConvStage(2 * wide, wide, n_convs=n, stride=1, norm=InstanceNorm)
            for (_, wide), n in zip(ups, n_convs[-2::-1], strict=True)
        )
        self.seg_layers = nn.ModuleList(nn.Conv3d(wide, n_out, 1) for _, wide in ups)

    def forward(self, skips: list[Tensor]) -> list[Tensor]:
        x = skips[-1]
        logits = []
        for u, skip in enumerate(skips[-2::-1]):
            x = torch.cat((self.transpconvs[u](x), skip), dim=1)  # (B, 2C, 2I, 2J, 2K)
            x = self.stages[u](x)
            logits.append(self.seg_layers[u](x))
        return logits[::-1]
