"""nnU-Net's plain 3-D U-Net (Isensee 2021, doi 10.1038/s41592-020-01008-z; network as in nnU-Net v2)."""

import torch
from torch import Tensor, nn

from htcnns.networks.blocks import ConvStage, Encoder, InstanceNorm, require_multiple

PUBLISHED = {  # nnU-Net's plan for BraTS: 31,198,991 parameters
    "channels": (32, 64, 128, 256, 320, 320),
    "n_convs": (2, 2, 2, 2, 2, 2),
}
COMPACT = {  # 4.1 M parameters; thin at full resolution, where a CPU spends its time
    "channels": (8, 32, 64, 128, 160),
    "n_convs": (1, 2, 2, 2, 2),
}


class UNet(nn.Module):
    """Plain convolutions, instance normalisation, strided convolutions down, transposed ones up, a head a resolution.

    Args:
        n_in: sequences.
        n_regions: overlapping regions, one sigmoid each.
        channels: width of each resolution, full first; the edges must be multiples of 2^(len - 1).
        n_convs: convolutions at each resolution, the same on the way down and up.
    """

    def __init__(
        self, *, channels: tuple[int, ...], n_convs: tuple[int, ...], n_in: int = 4, n_regions: int = 3
    ) -> None:
        super().__init__()
        self.multiple = 2 ** (len(channels) - 1)
        self.encoder = Encoder(n_in, channels, n_convs=n_convs, norm=InstanceNorm)
        self.decoder = UNetDecoder(channels, n_convs, n_regions)

    def forward(self, x: Tensor) -> Tensor:
        """Logits at full resolution: (B, n_regions, I, J, K) from (B, n_in, I, J, K)."""
        return self.deep(x)[0]

    def deep(self, x: Tensor) -> list[Tensor]:
        """Logits at every resolution of the decoder, full first, for deep supervision."""
        require_multiple(x, self.multiple, network="unet")
        return self.decoder(self.encoder(x))


class UNetDecoder(nn.Module):
    """From the deepest up: transposed convolution, concatenation (upsampled first, skip second), stage, head."""

    def __init__(self, channels: tuple[int, ...], n_convs: tuple[int, ...], n_regions: int) -> None:
        super().__init__()
        ups = list(zip(channels[:0:-1], channels[-2::-1], strict=True))  # (deeper, shallower), deepest first
        self.transpconvs = nn.ModuleList(nn.ConvTranspose3d(deep, wide, 2, stride=2) for deep, wide in ups)
        self.stages = nn.ModuleList(
            ConvStage(2 * wide, wide, n_convs=n, stride=1, norm=InstanceNorm)
            for (_, wide), n in zip(ups, n_convs[-2::-1], strict=True)
        )
        self.seg_layers = nn.ModuleList(nn.Conv3d(wide, n_regions, 1) for _, wide in ups)

    def forward(self, skips: list[Tensor]) -> list[Tensor]:
        x = skips[-1]
        logits = []
        for u, skip in enumerate(skips[-2::-1]):
            x = torch.cat((self.transpconvs[u](x), skip), dim=1)  # (B, 2C, 2I, 2J, 2K)
            x = self.stages[u](x)
            logits.append(self.seg_layers[u](x))
        return logits[::-1]
