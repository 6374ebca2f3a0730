"""Swin UNETR (Hatamizadeh 2022, arXiv 2201.01266): attention in shifted windows on the way down, convolutions up.

The layers are MONAI's, but this file assembles them: MONAI's own class cannot be outlined without memory, and needs
another package (einops) for two permutations. `merging` states which corners weights were trained with: weights of
either kind load strictly with either setting, but compute something else with the wrong one.
"""

from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from types import MappingProxyType, ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htcnns.networks.contract import Network, require_window
from htcnns.volume import Shape

_PUBLISHED = {  # MONAI's feature size 48: 62,191,941 parameters; the published weights are older than MONAI 1.5
    "channels": (48, 48, 96, 192, 384, 768),
    "blocks": (2, 2, 2, 2),
    "heads": (3, 6, 12, 24),
    "attended": 7,
    "merging": "monai-1.4",
}
_COMPACT = {  # MONAI's feature size 12: 4,079,373 parameters
    "channels": (12, 12, 24, 48, 96, 192),
    "blocks": (2, 2, 2, 2),
    "heads": (3, 6, 12, 24),
    "attended": 7,
    "merging": "monai-1.5",
}
SIZES: Mapping[str, dict] = MappingProxyType({"published": _PUBLISHED, "compact": _COMPACT})
Corner = tuple[int, int, int]
_FIRST: tuple[Corner, ...] = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
CORNERS: Mapping[str, tuple[Corner, ...]] = MappingProxyType(
    {
        "monai-1.4": (*_FIRST, (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1)),  # and earlier: two corners twice, two never
        "monai-1.5": (*_FIRST, (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1)),  # and later: each corner once
    }
)


class SwinUNETR(Network):
    """Transformer stages from half resolution on; a residual block for the skip of each resolution but one.

    Args:
        channels: width of each resolution, full first; the edges must be multiples of 2^(len - 1).
        blocks: transformer blocks at each resolution from half resolution on; every second one shifts its windows.
        heads: heads at each of these resolutions.
        attended: edge of the cubes that attention is limited to, in voxels of each resolution.
        merging: "monai-1.4" for weights from before MONAI 1.5, "monai-1.5" for later and for new ones.
        n_in, n_out: sequences in, channels of the logits out.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        blocks: tuple[int, ...],
        heads: tuple[int, ...],
        attended: int,
        merging: str,
        n_in: int = 4,
        n_out: int = 3,
    ) -> None:
        super().__init__()
        self.multiple = 2 ** (len(channels) - 1)
        widths = list(pairwise(channels[1:]))
        self.stem = nn.Conv3d(n_in, channels[1], 2, stride=2)
        self.stages = nn.ModuleList(
            Stage(a, b, blocks=n, heads=h, attended=attended, corners=CORNERS[merging])
            for (a, b), n, h in zip(widths, blocks, heads, strict=True)
        )
        plain = {"spatial_dims": 3, "kernel_size": 3, "norm_name": "instance", "res_block": True}
        basic, up = _monai().UnetrBasicBlock, _monai().UnetrUpBlock
        steps = [(n_in, channels[0]), *((c, c) for c in (*channels[1:-2], channels[-1]))]
        self.residuals = nn.ModuleList(basic(in_channels=a, out_channels=b, stride=1, **plain) for a, b in steps)
        self.ups = nn.ModuleList(
            up(in_channels=deep, out_channels=wide, upsample_kernel_size=2, **plain)
            for wide, deep in list(pairwise(channels))[::-1]
        )
        self.head = nn.Conv3d(channels[0], n_out, 1)

    def deep(self, x: Tensor) -> list[Tensor]:
        """The logits at full resolution only: Swin UNETR has no deep supervision."""
        require_window(x.shape[-3:], self.multiple, network="swin_unetr")
        *skips, deepest = self._features(x)
        *residuals, bottom = self.residuals
        skips[:-1] = [residual(skip) for residual, skip in zip(residuals, skips[:-1], strict=True)]
        x = bottom(deepest)
        for up, skip in zip(self.ups, skips[::-1], strict=True):
            x = up(x, skip)  # (B, C/2, 2I, 2J, 2K)
        return [self.head(x)]

    def blocks(self) -> list[nn.Module]:
        """The stages of the transformer, the residual blocks and those on the way up."""
        return [*self.stages, *self.residuals, *self.ups]

    def encoder_stages(self) -> list[list[nn.Module]]:
        """The stages of the transformer, the first with the stem; half resolution first."""
        first, *others = self.stages
        return [[self.stem, first], *([stage] for stage in others)]

    def _features(self, x: Tensor) -> list[Tensor]:
        """Features at each resolution, full first: the input itself, then the normalised outputs of stem and stages."""
        features = [x]
        x = self.stem(x)  # (B, C, I/2, J/2, K/2)
        features.append(_normalised(x))
        for stage in self.stages:
            x = stage(x)
            features.append(_normalised(x))
        return features


class Stage(nn.Module):
    """Transformer blocks at one resolution, and the merging of eight voxels into one of the next.

    Maps (B, n_in, I, J, K) to (B, n_out, I/2, J/2, K/2).
    """

    def __init__(
        self, n_in: int, n_out: int, *, blocks: int, heads: int, attended: int, corners: tuple[Corner, ...]
    ) -> None:
        super().__init__()
        if n_in % heads:
            raise ValueError(f"width {n_in} does not divide into {heads} heads")
        self.attended, self.shift = (attended,) * 3, (attended // 2,) * 3
        self.blocks = nn.ModuleList(
            _block(n_in, heads=heads, attended=self.attended, shift=self.shift if b % 2 else (0, 0, 0))
            for b in range(blocks)
        )
        self.merging = Merging(n_in, n_out, corners)

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(1, -1)  # (B, I, J, K, C)
        grid = x.shape[1:4]
        window, shift = _monai().get_window_size(grid, self.attended, self.shift)
        padded = [-(-edge // size) * size for edge, size in zip(grid, window, strict=True)]
        mask = _monai().compute_mask(padded, window, shift, x.device)
        for block in self.blocks:
            x = block(x, mask)
        return self.merging(x).movedim(-1, 1)


class Merging(nn.Module):
    """Each cube of 2x2x2 voxels merged into one: its corners concatenated, normalised, and projected to `n_out`.

    Maps (B, I, J, K, n_in) to (B, I/2, J/2, K/2, n_out).
    """

    def __init__(self, n_in: int, n_out: int, corners: tuple[Corner, ...]) -> None:
        super().__init__()
        self.corners = corners
        self.norm = nn.LayerNorm(len(corners) * n_in)
        self.reduction = nn.Linear(len(corners) * n_in, n_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([x[:, i::2, j::2, k::2] for i, j, k in self.corners], dim=-1)
        return self.reduction(self.norm(x))


def _normalised(x: Tensor) -> Tensor:
    """Features with mean 0 and deviation 1 over the channels of each voxel."""
    return F.layer_norm(x.movedim(1, -1), x.shape[1:2]).movedim(-1, 1)


def _block(width: int, *, heads: int, attended: Shape, shift: Shape) -> nn.Module:
    """MONAI's transformer block; its table of relative positions, which follows from the sizes, is not saved."""
    block = _monai().SwinTransformerBlock(
        width,
        num_heads=heads,
        window_size=attended,
        shift_size=shift,
        use_flash_attention=True,  # without gradients only; 2.4 times as fast on a CPU (measured, compact)
    )
    block.attn.register_buffer("relative_position_index", block.attn.relative_position_index, persistent=False)
    return block


@cache
def _monai() -> ModuleType:
    """The module of MONAI's layers, imported when first needed, as importing it takes two seconds."""
    with torch.device("cpu"), torch.inference_mode(mode=False):  # an outline must not affect tensors made at import
        from monai.networks.nets import swin_unetr  # slow
    return swin_unetr
