"""nnU-Net's residual encoder: its parts, its names, its shortcuts."""

import pytest
import torch
from parameters import n_parameters, on_meta
from torch import nn

from htcnns.networks.res_unet import Block, ResUNet


@pytest.fixture(scope="module")
def published() -> ResUNet:
    return on_meta("res_unet", "published")


def block(n_in: int, n_out: int, stride: tuple[int, int, int] = (1, 1, 1)) -> Block:
    return Block(n_in, n_out, stride=stride, norm=lambda _: nn.Identity()).eval()


def test_first_stages_worked_by_hand(published: ResUNet) -> None:
    stem = 27 * 4 * 32 + 32 + 2 * 32
    first = 2 * (27 * 32 * 32 + 32 + 2 * 32)  # no shortcut: neither stride nor width changes
    assert n_parameters(published.encoder.stem) == stem
    assert n_parameters(published.encoder.stages[0]) == first
    widening = (27 * 32 * 64 + 64 + 128) + (27 * 64 * 64 + 64 + 128) + (32 * 64 + 128)
    assert n_parameters(published.encoder.stages[1].blocks[0]) == widening


def test_there_are_as_many_blocks_as_planned(published: ResUNet) -> None:
    assert [len(stage.blocks) for stage in published.encoder.stages] == [1, 3, 4, 6, 6, 6]
    assert [len(stage.convs) for stage in published.decoder.stages] == [1, 1, 1, 1, 1]


def test_names_are_those_of_nnunet_v2(published: ResUNet) -> None:
    names = set(published.state_dict())
    assert {
        "encoder.stem.convs.0.conv.weight",
        "encoder.stages.1.blocks.0.conv1.norm.bias",
        "encoder.stages.1.blocks.0.skip.1.conv.weight",
        "encoder.stages.5.blocks.5.conv2.conv.bias",
        "decoder.stages.4.convs.0.conv.weight",
        "decoder.transpconvs.0.weight",
        "decoder.seg_layers.4.bias",
    } <= names
    assert "encoder.stages.0.blocks.0.skip.0.conv.weight" not in names
    assert "encoder.stages.1.blocks.0.skip.1.conv.bias" not in names
    assert "encoder.stages.5.blocks.0.skip.1.conv.weight" not in names  # 320 to 320 channels: it only averages


def test_a_block_whose_convolutions_are_zero_returns_its_activated_input() -> None:
    same = block(2, 2)
    for parameter in same.parameters():
        nn.init.zeros_(parameter)
    x = torch.tensor([-1.0, 3.0]).view(1, 2, 1, 1, 1).expand(1, 2, 4, 4, 4)
    torch.testing.assert_close(same(x), torch.where(x < 0, 0.01 * x, x))


def test_the_shortcut_averages_where_the_convolutions_stride(generator: torch.Generator) -> None:
    halving = block(2, 2, (2, 2, 1))
    for parameter in halving.parameters():
        nn.init.zeros_(parameter)
    x = torch.rand(1, 2, 4, 4, 3, generator=generator)
    expected = x.unflatten(3, (2, 2)).unflatten(2, (2, 2)).mean((3, 5))
    torch.testing.assert_close(halving(x), expected)


def test_an_axis_that_is_halved_less_often_keeps_its_edge(generator: torch.Generator) -> None:
    network = ResUNet(channels=(4, 8, 8), blocks=(1, 1, 1), n_convs_up=(1, 1), halvings=(1, 2, 2)).eval()
    features = network.encoder(torch.randn(1, 4, 16, 16, 16, generator=generator))
    assert [tuple(each.shape[2:]) for each in features] == [(16, 16, 16), (8, 8, 8), (8, 4, 4)]
    assert network.multiple == (2, 4, 4)
