"""A tiny TransBTS with the names of its published code; without dropout or softmax, so that it returns logits."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, EMBEDDING, HIDDEN, EDGE = (
    8,
    32,
    16,
    2,
)  # of all resolutions, of tokens, of the feed-forward; tokens along an axis


class EnBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.GroupNorm(8, WIDTH), nn.GroupNorm(8, WIDTH)
        self.conv1, self.conv2 = (nn.Conv3d(WIDTH, WIDTH, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x)))))) + x


class Named(nn.Module):
    """One layer called `conv`."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.conv = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.InitConv = Named(nn.Conv3d(4, WIDTH, 3, padding=1))
        self.EnBlock1 = EnBlock()
        for stage, n_blocks in ((2, 2), (3, 2), (4, 4)):
            setattr(self, f"EnDown{stage - 1}", Named(nn.Conv3d(WIDTH, WIDTH, 3, 2, 1)))
            for block in range(1, n_blocks + 1):
                setattr(self, f"EnBlock{stage}_{block}", EnBlock())

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = [self.EnBlock1(self.InitConv(x))]
        for stage, n_blocks in ((2, 2), (3, 2), (4, 4)):
            x = getattr(self, f"EnDown{stage - 1}")(outputs[-1])
            for block in range(1, n_blocks + 1):
                x = getattr(self, f"EnBlock{stage}_{block}")(x)
            outputs.append(x)
        return outputs


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.position_embeddings = nn.Parameter(torch.zeros(1, EDGE**3, EMBEDDING))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(EMBEDDING, 3 * EMBEDDING, bias=False), nn.Linear(EMBEDDING, EMBEDDING)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (8, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        weights = (q @ k.transpose(-2, -1) * (EMBEDDING // 8) ** -0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layers = nn.Linear(EMBEDDING, HIDDEN), nn.GELU(), nn.Identity(), nn.Linear(HIDDEN, EMBEDDING)
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class PreNorm(nn.Module):
    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(EMBEDDING), fn

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(self.norm(x))


class Residual(nn.Module):
    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn(x)


class Transformer(nn.Module):
    def __init__(self, n_layers: int) -> None:
        super().__init__()
        layers = [Residual(PreNorm(part())) for _ in range(n_layers) for part in (Attention, FeedForward)]
        self.net = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class ConvBlock(nn.Module):
    """Enblock8_1 if it is not residual, else Enblock8_2 or a block of the decoder."""

    def __init__(self, n_in: int, *, is_residual: bool) -> None:
        super().__init__()
        self.is_residual = is_residual
        self.bn1, self.bn2 = nn.BatchNorm3d(WIDTH), nn.BatchNorm3d(WIDTH)
        self.conv1, self.conv2 = nn.Conv3d(n_in, WIDTH, 3, padding=1), nn.Conv3d(WIDTH, WIDTH, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return x + y if self.is_residual else y


class DeUp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv3 = nn.Conv3d(WIDTH, WIDTH, 1), nn.Conv3d(2 * WIDTH, WIDTH, 1)
        self.conv2 = nn.ConvTranspose3d(WIDTH, WIDTH, 2, 2)

    def forward(self, x: Tensor, before: Tensor) -> Tensor:
        return self.conv3(torch.cat((before, self.conv2(self.conv1(x))), 1))


class TheirTransBTS(nn.Module):
    """Four labels, FLAIR first; axes in the order of the file."""

    def __init__(self) -> None:
        super().__init__()
        self.linear_encoding, self.pre_head_ln = nn.Linear(WIDTH, EMBEDDING), nn.LayerNorm(EMBEDDING)  # both unused
        self.Unet, self.bn = Encoder(), nn.BatchNorm3d(WIDTH)
        self.conv_x = nn.Conv3d(WIDTH, EMBEDDING, 3, padding=1)
        self.position_encoding, self.transformer = Positions(), Transformer(2)
        self.Enblock8_1 = ConvBlock(EMBEDDING, is_residual=False)
        self.Enblock8_2 = ConvBlock(WIDTH, is_residual=True)
        for number in (4, 3, 2):
            setattr(self, f"DeUp{number}", DeUp())
            setattr(self, f"DeBlock{number}", ConvBlock(WIDTH, is_residual=True))
        self.endconv = nn.Conv3d(WIDTH, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        *skips, x = self.Unet(x)
        x = self.conv_x(F.relu(self.bn(x)))
        grid = x.shape[2:]
        tokens = x.permute(0, 2, 3, 4, 1).flatten(1, 3) + self.position_encoding.position_embeddings
        x = self.transformer(tokens).transpose(1, 2).unflatten(2, grid)
        x = self.Enblock8_2(self.Enblock8_1(x))
        for number, skip in zip((4, 3, 2), skips[::-1], strict=True):
            x = getattr(self, f"DeBlock{number}")(getattr(self, f"DeUp{number}")(x, skip))
        return self.endconv(x)
