"""TransBTS (Wang 2021, arXiv 2103.04430): a residual encoder, a transformer over its deepest features, a decoder.

Not reproduced from the published code: dropout that stays on in evaluation, softmax applied twice, and two sets of
weights that nothing uses (263,680 parameters). The head has a channel for each region instead of one for each label.
"""

import itertools
from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htcnns.networks.blocks import NORMS, Norm
from htcnns.networks.contract import Network, require_window

_PUBLISHED = {  # 32,723,891 parameters
    "channels": (16, 32, 64, 128),
    "blocks": (1, 2, 2, 4),
    "embedding": 512,
    "layers": 4,
    "heads": 8,
    "hidden": 4096,
    "edge": 128,
    "norm": "batch",
    "dropout": 0.1,
}
_COMPACT = {  # 3.9 M parameters; thin at full resolution
    "channels": (16, 32, 64, 96),
    "blocks": (0, 1, 2, 2),
    "embedding": 96,
    "layers": 4,
    "heads": 4,
    "hidden": 384,
    "edge": 96,
    "norm": "instance",
    "dropout": 0.0,
}
SIZES: Mapping[str, dict] = MappingProxyType({"published": _PUBLISHED, "compact": _COMPACT})
N_GROUPS = 8


class TransBTS(Network):
    """Four resolutions of residual blocks, self-attention over the tokens of the deepest, residual blocks back up.

    Args:
        channels: width of each resolution, full first.
        blocks: residual blocks at each resolution.
        embedding, layers, heads, hidden: the transformer's token width, depth, heads and feed-forward width.
        edge: window edge in voxels that the positional table is made for; it is interpolated for any other.
        norm: "batch" as published (with group normalisation inside the encoder), or "instance" everywhere.
        dropout: rate in the transformer; the stem drops whole channels at twice this rate. Off in evaluation.
        n_in, n_out: sequences in, channels of the logits out.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        blocks: tuple[int, ...],
        embedding: int,
        layers: int,
        heads: int,
        hidden: int,
        edge: int,
        norm: str,
        dropout: float,
        n_in: int = 4,
        n_out: int = 3,
    ) -> None:
        super().__init__()
        multiple = 2 ** (len(channels) - 1)
        self.multiple = multiple
        around = NORMS[norm]
        inside = _group_norm if norm == "batch" else around
        self.stem = nn.Conv3d(n_in, channels[0], 3, padding=1)
        self.stem_dropout = nn.Dropout3d(2 * dropout)
        self.downs = nn.ModuleList(nn.Conv3d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(channels))
        self.stages = nn.ModuleList(
            nn.Sequential(*(PreActivationBlock(c, inside) for _ in range(n)))
            for c, n in zip(channels, blocks, strict=True)
        )
        self.bottleneck = TokenTransformer(
            channels[-1],
            embedding=embedding,
            norm=around,
            layers=[TransformerLayer(embedding, heads=heads, hidden=hidden, dropout=dropout) for _ in range(layers)],
            edge=edge // multiple,
            dropout=dropout,
        )
        self.narrow = nn.Sequential(
            *conv_norm_relu(embedding, channels[-1], around), *conv_norm_relu(channels[-1], channels[-1], around)
        )
        self.deepest = ResidualBlock(channels[-1], around)
        self.ups = nn.ModuleList(Up(a, b, around) for a, b in zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.head = nn.Conv3d(channels[0], n_out, 1)

    def deep(self, x: Tensor) -> list[Tensor]:
        """The logits at full resolution only: TransBTS has no deep supervision."""
        require_window(x.shape[-3:], self.multiple, network="transbts")
        x = self.stages[0](self.stem_dropout(self.stem(x)))
        skips = []
        for down, stage in zip(self.downs, list(self.stages)[1:], strict=True):
            skips.append(x)
            x = stage(down(x))  # (B, 2C, I/2, J/2, K/2)
        x = self.deepest(self.narrow(self.bottleneck(x)))
        for up, skip in zip(self.ups, skips[::-1], strict=True):
            x = up(x, skip)
        return [self.head(x)]

    def blocks(self) -> list[nn.Module]:
        """The residual blocks on the way down, the transformer's layers, and all that follows them."""
        inner = [block for stage in self.stages for block in stage.children()]
        return [*inner, *self.bottleneck.layers, self.narrow, self.deepest, *self.ups]

    def encoder_stages(self) -> list[list[nn.Module]]:
        """The residual blocks of each resolution with the convolution before them; the transformer belongs to none."""
        return [[before, stage] for before, stage in zip((self.stem, *self.downs), self.stages, strict=True)]


class PreActivationBlock(nn.Module):
    """x plus twice (normalisation, ReLU, conv 3x3x3)."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.norm1 = norm(channels)
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.norm2 = norm(channels)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(y)))


class ResidualBlock(nn.Module):
    """x plus twice (conv 3x3x3, normalisation, ReLU)."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.convs = nn.Sequential(*conv_norm_relu(channels, channels, norm), *conv_norm_relu(channels, channels, norm))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.convs(x)


class TokenTransformer(nn.Module):
    """Pre-norm transformer layers with each voxel of the deepest features as a token; no norm after the last layer.

    Maps (B, C, I, J, K) to (B, embedding, I, J, K).
    """

    def __init__(
        self, n_in: int, *, embedding: int, norm: Norm, layers: list["TransformerLayer"], edge: int, dropout: float
    ) -> None:
        super().__init__()
        self.norm = norm(n_in)
        self.embed = nn.Conv3d(n_in, embedding, 3, padding=1)
        self.positions = nn.Parameter(torch.zeros(1, embedding, edge, edge, edge))
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(F.relu(self.norm(x)))  # (B, embedding, I, J, K)
        grid = x.shape[2:]
        x = x + self._positions(grid).to(x.dtype)
        tokens = self.dropout(x.flatten(2).transpose(1, 2))  # (B, I·J·K, embedding)
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens.transpose(1, 2).unflatten(2, grid)

    def _positions(self, grid: torch.Size) -> Tensor:
        if grid == self.positions.shape[2:]:
            return self.positions
        return F.interpolate(self.positions.float(), size=grid, mode="trilinear", align_corners=False)


class TransformerLayer(nn.Module):
    """Tokens plus self-attention, plus a feed-forward with one hidden layer; layer normalisation before each."""

    def __init__(self, width: int, *, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"embedding {width} does not divide into {heads} heads")
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.to_out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.forward1 = nn.Linear(width, hidden)
        self.forward2 = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.dropout(self._attend(self.norm1(tokens)))
        hidden = self.dropout(F.gelu(self.forward1(self.norm2(tokens))))
        return tokens + self.dropout(self.forward2(hidden))

    def _attend(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        qkv = self.to_qkv(tokens).unflatten(-1, (3, self.heads, -1))
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))  # (B, heads, N, width/heads)
        attended = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout.p if self.training else 0.0)
        return self.to_out(attended.transpose(1, 2).flatten(2))


class Up(nn.Module):
    """Narrow, upsample, concatenate (skip first), narrow again, one residual block."""

    def __init__(self, n_in: int, n_out: int, norm: Norm) -> None:
        super().__init__()
        self.narrow = nn.Conv3d(n_in, n_out, 1)
        self.transpconv = nn.ConvTranspose3d(n_out, n_out, 2, stride=2)
        self.join = nn.Conv3d(2 * n_out, n_out, 1)
        self.block = ResidualBlock(n_out, norm)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.transpconv(self.narrow(x))  # (B, n_out, 2I, 2J, 2K)
        return self.block(self.join(torch.cat((skip, x), dim=1)))


def conv_norm_relu(n_in: int, n_out: int, norm: Norm) -> tuple[nn.Module, ...]:
    """Conv 3x3x3 with bias, normalisation, ReLU: TransBTS's decoder unit."""
    return nn.Conv3d(n_in, n_out, 3, padding=1), norm(n_out), nn.ReLU(inplace=True)


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(N_GROUPS, channels)
