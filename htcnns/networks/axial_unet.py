"""DeepSCAN in HT-CNNs: a U-Net with axial attention in its decoder (Luu & Park 2021, arXiv 2112.04653).

McKinley's DeepSCAN is a different network. Attention along the three axes is summed, as in the paper; KAIST's published
trainer applies one axis after another.
"""

from collections.abc import Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from htcnns.networks.blocks import NORMS, ConvStage, Encoder, strides_of
from htcnns.networks.contract import Network, require_window

_PUBLISHED = {  # KAIST's BL+AA widths: 50,561,760 parameters
    "channels": (32, 64, 128, 256, 320, 320),
    "n_convs": (2, 2, 2, 2, 2, 2),
    "hidden": (4096, 1024, 256, 64),
    "heads": (32, 16, 8, 4),
    "edge": 128,
    "norm": "batch",
}
_COMPACT = {  # 4.0 M parameters; thin at full resolution, and hidden widths no wider than the channels
    "channels": (16, 32, 64, 96, 96, 96),
    "n_convs": (1, 2, 2, 2, 2, 2),
    "hidden": (96, 96, 32, 16),
    "heads": (4, 4, 1, 1),
    "edge": 96,
    "norm": "instance",
}
SIZES: Mapping[str, dict] = MappingProxyType({"published": _PUBLISHED, "compact": _COMPACT})
LARGEST_FOLDED_BATCH = 65535  # CUDA's attention kernels refuse batch x heads above it (pytorch #142228)
POSITION_STD = 0.02  # KAIST initialises with 1, which drowns the features in a short training


class AxialUNet(Network):
    """A plain U-Net whose four deepest transposed convolutions are followed by axial attention.

    Args:
        channels: width of each resolution, full first; the edges must be multiples of 2^(len - 1).
        n_convs: convolutions at each resolution, the same on the way down and up.
        hidden: width of queries, keys and values at each attended level, deepest first.
        heads: heads at each of these levels.
        edge: window edge in voxels that the positional tables are made for; they are interpolated for any other.
        norm: "batch" as published, or "instance", which does not depend on the batches of the training.
        n_in, n_out: sequences in, channels of the logits out.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, ...],
        n_convs: tuple[int, ...],
        hidden: tuple[int, ...],
        heads: tuple[int, ...],
        edge: int,
        norm: str,
        n_in: int = 4,
        n_out: int = 3,
    ) -> None:
        super().__init__()
        self.multiple = 2 ** (len(channels) - 1)
        strides = strides_of(None, len(channels))
        self.encoder = Encoder(n_in, channels, n_convs=n_convs, norm=NORMS[norm], strides=strides)
        ups = list(zip(channels[:0:-1], channels[-2::-1], strict=True))  # (deeper, shallower), deepest first
        edges = [edge * 2 ** (u + 1) // self.multiple for u in range(len(hidden))]
        self.attentions = nn.ModuleList(
            AxialAttention(wide, hidden=h, heads=n, edge=e)
            for (_, wide), h, n, e in zip(ups[: len(hidden)], hidden, heads, edges, strict=True)
        )
        self.transpconvs = nn.ModuleList(nn.ConvTranspose3d(deep, wide, 2, stride=2, bias=False) for deep, wide in ups)
        self.stages = nn.ModuleList(
            ConvStage((2 * wide, *[wide] * n), norm=NORMS[norm])
            for (_, wide), n in zip(ups, n_convs[-2::-1], strict=True)
        )
        self.seg_layers = nn.ModuleList(nn.Conv3d(wide, n_out, 1, bias=False) for _, wide in ups)

    def deep(self, x: Tensor) -> list[Tensor]:
        """Logits at every resolution of the decoder, full first, for deep supervision."""
        require_window(x.shape[-3:], self.multiple, network="axial_unet")
        skips = self.encoder(x)
        x = skips[-1]
        logits = []
        for u, skip in enumerate(skips[-2::-1]):
            x = self.transpconvs[u](x)  # (B, C, 2I, 2J, 2K)
            if u < len(self.attentions):
                x = x + self.attentions[u](x)
            x = self.stages[u](torch.cat((x, skip), dim=1))
            logits.append(self.seg_layers[u](x))
        return logits[::-1]

    def blocks(self) -> list[nn.Module]:
        """The stages on the way down and up, and the attentions."""
        return [*self.encoder.stages, *self.stages, *self.attentions]

    def encoder_stages(self) -> list[list[nn.Module]]:
        """One stage for each resolution."""
        return [[stage] for stage in self.encoder.stages]


class AxialAttention(nn.Module):
    """Attention along each of the three axes, with learned positions, summed.

    Args:
        channels: width of the input and output.
        hidden, heads: width of queries, keys and values, and the number of heads that share it.
        edge: length of the positional tables; interpolated linearly to any other length.
    """

    def __init__(self, channels: int, *, hidden: int, heads: int, edge: int) -> None:
        super().__init__()
        self.positions = nn.ParameterList(nn.Parameter(POSITION_STD * torch.randn(channels, edge)) for _ in range(3))
        self.axes = nn.ModuleList(OneAxis(channels, hidden=hidden, heads=heads) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = x.movedim(1, -1)  # (B, I, J, K, C)
        for axis, table in enumerate(self.positions):
            x = x + _resized(table, x.shape[1 + axis], axis).to(x.dtype)
        total = self.axes[0](x, axis=0)
        for axis in (1, 2):
            total = total + self.axes[axis](x, axis=axis)
        return total.movedim(-1, 1)  # (B, C, I, J, K)


class OneAxis(nn.Module):
    """Multi-head attention among the voxels of each line along one axis; the other two are folded into the batch."""

    def __init__(self, channels: int, *, hidden: int, heads: int) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"hidden {hidden} does not divide into {heads} heads")
        self.heads = heads
        self.to_qkv = nn.Linear(channels, 3 * hidden, bias=False)
        self.to_out = nn.Linear(hidden, channels)

    def forward(self, x: Tensor, *, axis: int) -> Tensor:
        """(B, I, J, K, C) -> (B, I, J, K, C), attending along axis 0, 1 or 2 of I, J, K."""
        lines = x.movedim(1 + axis, -2)  # (B, S, T, L, C)
        folded = lines.flatten(0, 2)  # (B·S·T, L, C)
        most = LARGEST_FOLDED_BATCH // self.heads
        attended = torch.cat([self._attend(part) for part in folded.split(most)])
        return attended.unflatten(0, lines.shape[:3]).movedim(-2, 1 + axis)

    def _attend(self, lines: Tensor) -> Tensor:
        """(N, L, C) -> (N, L, C)."""
        qkv = self.to_qkv(lines).unflatten(-1, (3, self.heads, -1))  # (N, L, 3, heads, hidden/heads)
        q, k, v = (part.transpose(1, 2) for part in qkv.unbind(2))  # (N, heads, L, hidden/heads)
        return self.to_out(short_attention(q, k, v).transpose(1, 2).flatten(2))


def short_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D)) v of (N, heads, L, D); on a CPU as plain matrix products.

    For lines this short, PyTorch's kernels on a CPU took twice as long in inference and 5 times in training (measured).
    In bf16 the attention weights are also rounded; the shipped member's logits were equally far from fp32 either way.
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v)
    weights = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # (N, heads, L, L)
    return weights.softmax(dim=-1).to(v.dtype) @ v


def _resized(table: Tensor, length: int, axis: int) -> Tensor:
    """(C, edge) as (1, …, length, …, C) with `length` on that axis; interpolated only if length and edge differ."""
    if length != table.shape[1]:
        table = F.interpolate(table[None].float(), size=length, mode="linear", align_corners=False)[0]
    shape = [1, 1, 1, 1, table.shape[0]]
    shape[1 + axis] = length
    return table.T.reshape(shape)
