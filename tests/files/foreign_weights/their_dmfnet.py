"""A tiny DMFNet with the names of the published code, written from the names and shapes of its tensors."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NormReluConv(nn.Module):
    def __init__(self, n_in: int, n_out: int, kernel: int | tuple[int, ...] = 1, **how: object) -> None:
        super().__init__()
        self.bn = nn.BatchNorm3d(n_in)
        self.conv = nn.Conv3d(n_in, n_out, kernel, bias=False, **how)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.relu(self.bn(x)))


class TheirUnit(nn.Module):
    """A unit with one 3x3x3 convolution, or with three of dilations 1, 2, 3 and a weight for each."""

    def __init__(self, n_in: int, n_out: int, groups: int, *, stride: int = 1, is_branched: bool = False) -> None:
        super().__init__()
        middle = min(n_in, n_out)
        self.conv1x1x1_in1 = NormReluConv(n_in, n_in // 4)
        self.conv1x1x1_in2 = NormReluConv(n_in // 4, middle)
        convs = [
            NormReluConv(middle, n_out, 3, stride=stride, padding=d, dilation=d, groups=groups)
            for d in ((1, 2, 3) if is_branched else (1,))
        ]
        self.conv3x3x3_m1 = nn.ModuleList(convs) if is_branched else convs[0]
        if is_branched:
            self.weight1, self.weight2, self.weight3 = (nn.Parameter(torch.ones(1)) for _ in range(3))
        self.conv3x3x3_m2 = NormReluConv(n_out, n_out, (3, 3, 1), padding=(1, 1, 0), groups=groups)
        if stride == 2:
            self.conv2x2x2_shortcut = NormReluConv(n_in, n_out, 2, stride=2)
        elif n_in != n_out:
            self.conv1x1x1_shortcut = NormReluConv(n_in, n_out)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1x1x1_in2(self.conv1x1x1_in1(x))
        if hasattr(self, "weight1"):
            one, two, three = self.conv3x3x3_m1
            y = self.weight1 * one(y) + self.weight2 * two(y) + self.weight3 * three(y)
        else:
            y = self.conv3x3x3_m1(y)
        shortcut = getattr(self, "conv2x2x2_shortcut", getattr(self, "conv1x1x1_shortcut", nn.Identity()))
        return self.conv3x3x3_m2(y) + shortcut(x)


class TheirDMFNet(nn.Module):
    """The whole network, before its softmax."""

    def __init__(self, stem: int = 8, wide: int = 16, groups: int = 4, n_out: int = 4) -> None:
        super().__init__()
        self.encoder_block1 = nn.Conv3d(4, stem, 3, stride=2, padding=1, bias=False)
        widths = {2: (stem, wide, wide, wide), 3: (wide, 2 * wide, 2 * wide, 2 * wide)}
        widths[4] = (2 * wide, 3 * wide, 3 * wide, 2 * wide)
        for number, row in widths.items():
            units = [
                TheirUnit(a, b, groups, stride=1 if u else 2, is_branched=number < 4)
                for u, (a, b) in enumerate(pairwise(row))
            ]
            setattr(self, f"encoder_block{number}", nn.Sequential(*units))
        self.decoder_block1 = TheirUnit(4 * wide, 2 * wide, groups)
        self.decoder_block2 = TheirUnit(3 * wide, wide, groups)
        self.decoder_block3 = TheirUnit(wide + stem, stem, groups)
        self.seg = nn.Conv3d(stem, n_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        skips = [self.encoder_block1(x)]
        for block in (self.encoder_block2, self.encoder_block3, self.encoder_block4):
            skips.append(block(skips[-1]))
        y = skips.pop()
        for block in (self.decoder_block1, self.decoder_block2, self.decoder_block3):
            y = block(torch.cat((skips.pop(), F.interpolate(y, scale_factor=2, mode="trilinear")), 1))
        return self.seg(F.interpolate(y, scale_factor=2, mode="trilinear"))
