"""SegResNet: its parts, and that it computes what MONAI's class does."""

import re

import pytest
import torch
from monai.networks.nets import SegResNet as Monais
from parameters import n_parameters, on_meta
from torch import nn

from htcnns.networks.segresnet import SIZES, Block, SegResNet

TINY = {"channels": (8, 16, 32), "blocks": (1, 2, 1), "blocks_up": (1, 2), "groups": 4, "dropout": 0.2}
NAMES = [  # of MONAI's weights and ours
    (r"^convInit\.conv", "stem.0"),
    (r"^down_layers", "downs"),
    (r"^up_layers", "ups"),
    (r"^up_samples\.(\d)\.0\.conv", r"narrow.\1.0"),
    (r"^conv_final\.0", "head.0"),
    (r"^conv_final\.2\.conv", "head.2"),
    (r"\.norm1", ".layers.0"),
    (r"\.conv1\.conv", ".layers.2"),
    (r"\.norm2", ".layers.3"),
    (r"\.conv2\.conv", ".layers.5"),
    (r"^(downs\.\d\.0)\.conv", r"\1"),
]


def our_name(name: str) -> str:
    for pattern, ours in NAMES:
        name = re.sub(pattern, ours, name)
    return name


@pytest.mark.slow
def test_logits_are_those_of_monai(generator: torch.Generator) -> None:
    ours = SegResNet(**TINY).eval()
    theirs = Monais(
        init_filters=8,
        in_channels=4,
        out_channels=3,
        dropout_prob=0.2,
        norm=("GROUP", {"num_groups": 4}),
        blocks_down=(1, 2, 1),
        blocks_up=(1, 2),
    ).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, generator=generator)
    ours.load_state_dict({our_name(name): tensor for name, tensor in theirs.state_dict().items()}, strict=True)
    x = torch.randn(2, 4, 8, 16, 12, generator=generator)
    with torch.no_grad():
        expected = theirs(x)
        torch.testing.assert_close(ours(x), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())


def test_the_published_size_is_that_of_the_bundle() -> None:
    with torch.device("meta"):
        bundle = Monais(init_filters=16, in_channels=4, out_channels=3, blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1))
    assert n_parameters(bundle) == n_parameters(on_meta("segresnet", "published")) == 4_702_227


def test_parameters_part_by_part() -> None:
    published = on_meta("segresnet", "published")
    block = [2 * (2 * width + 27 * width**2) for width in SIZES["published"]["channels"]]
    strided = [0, *(27 * a * b for a, b in ((16, 32), (32, 64), (64, 128)))]
    assert n_parameters(published.stem) == 27 * 4 * 16
    assert [n_parameters(down) for down in published.downs] == [
        head + n * one for head, n, one in zip(strided, (1, 2, 2, 4), block, strict=True)
    ]
    assert [n_parameters(up) for up in published.ups] == block[2::-1]
    assert [n_parameters(narrow) for narrow in published.narrow] == [128 * 64, 64 * 32, 32 * 16]


def test_a_block_without_weights_in_its_last_convolution_returns_its_input(generator: torch.Generator) -> None:
    block = Block(4, groups=2)
    nn.init.zeros_(block.layers[-1].weight)
    x = torch.randn(1, 4, 4, 4, 4, generator=generator)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def test_dropout_drops_whole_channels_and_only_in_training() -> None:
    stem = SegResNet(**{**TINY, "dropout": 0.5}).stem
    nn.init.constant_(stem[0].weight, 1.0)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        dropped = stem.train()(torch.ones(1, 4, 4, 4, 4))[0].flatten(1) == 0
    assert 0 < dropped.all(1).sum() < 8
    assert (dropped.any(1) == dropped.all(1)).all()
    assert (stem.eval()(torch.ones(1, 4, 4, 4, 4)) > 0).all()
