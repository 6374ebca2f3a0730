"""nnU-Net's plain 3-D U-Net (Isensee 2021, doi 10.1038/s41592-020-01008-z; network as in nnU-Net v2).

Its variants are arguments: batch normalisation as in BraTS 2020's winner, axes that are halved less often than others,
as nnU-Net plans for flat patches, and KAIST's wide encoder with a narrow decoder (Luu & Park 2021).
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

from torch import Tensor, nn

from htcnns.networks.blocks import NORMS, Decoder, Encoder, Norm, multiple_of, strides_of
from htcnns.networks.contract import Network, require_window
from htcnns.volume import Shape

_PUBLISHED = {  # nnU-Net's plan for BraTS: 31,198,991 parameters
    "channels": (32, 64, 128, 256, 320, 320),
    "n_convs": (2, 2, 2, 2, 2, 2),
}
_COMPACT = {  # 4.1 M parameters; a CPU computes 16 channels in the time of 8
    "channels": (16, 32, 64, 128, 160),
    "n_convs": (1, 2, 2, 2, 2),
}
_KAIST_LARGE = {  # KAIST's BL+L+GN: 87,415,247 parameters, 1,487 of them biases that KAIST's network lacks
    "channels": (64, 128, 256, 512, 512, 512),
    "n_convs": (2, 2, 2, 2, 2, 2),
    "norm": "group",
    "narrowing": 2,
}
SIZES: Mapping[str, dict] = MappingProxyType(
    {"published": _PUBLISHED, "compact": _COMPACT, "kaist_large": _KAIST_LARGE}
)
OPTIONAL: Mapping[str, object] = MappingProxyType({"norm": "instance", "halvings": (5, 5, 5), "narrowing": 1})
N_GROUPS = 32  # KAIST's
_NORMS: Mapping[str, Norm] = MappingProxyType({**NORMS, "group": partial(nn.GroupNorm, N_GROUPS)})


class UNet(Network):
    """Plain convolutions, normalisation, strided convolutions down, transposed ones up, heads on the way up.

    Args:
        channels: width of each resolution, full first.
        n_convs: convolutions at each resolution, the same on the way down and up.
        norm: "instance" as published, "batch", or "group" with 32 groups.
        halvings: number of times that each axis is halved; None for once per resolution below the full one.
        narrowing: how many times narrower the output of each stage on the way up is than its skip.
        n_in, n_out: sequences in, channels of the logits out.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        n_convs: tuple[int, ...],
        norm: str = "instance",
        halvings: Shape | None = None,
        narrowing: int = 1,
        n_in: int = 4,
        n_out: int = 3,
    ) -> None:
        super().__init__()
        strides = strides_of(halvings, len(channels))
        self.multiple = multiple_of(strides)
        self.encoder = Encoder(n_in, channels, n_convs=n_convs, norm=_NORMS[norm], strides=strides)
        self.decoder = Decoder(
            channels, n_convs=n_convs[:-1], strides=strides, norm=_NORMS[norm], n_out=n_out, narrowing=narrowing
        )

    def deep(self, x: Tensor) -> list[Tensor]:
        """Logits at every resolution of the decoder, full first, for deep supervision."""
        require_window(x.shape[-3:], self.multiple, network="unet")
        return self.decoder(self.encoder(x))

    def blocks(self) -> list[nn.Module]:
        """The stages on the way down and up."""
        return [*self.encoder.stages, *self.decoder.stages]

    def encoder_stages(self) -> list[list[nn.Module]]:
        """One stage for each resolution."""
        return [[stage] for stage in self.encoder.stages]
