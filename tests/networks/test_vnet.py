"""V-Net: its parts, its residuals worked by hand, its dropout; MONAI is the oracle."""

import pytest
import torch
import torch.nn.functional as F
from monai.networks.nets import VNet as MonaiVNet
from parameters import n_parameters, on_meta
from torch import nn

from htcnns.networks.blocks import InstanceNorm
from htcnns.networks.vnet import SIZES, Down, Stem, Up, VNet


@pytest.fixture(scope="module")
def published() -> VNet:
    return on_meta("vnet", "published", n_out=5)


def without_convolutions(stage: nn.Module) -> nn.Module:
    """The stage with 5x5x5 convolutions that return 0."""
    for convolution in (each for each in stage.modules() if getattr(each, "kernel_size", None) == (5, 5, 5)):
        nn.init.zeros_(convolution.weight)
    return stage.eval()


def test_parameters_part_by_part(published: VNet) -> None:
    assert n_parameters(published.stem) == 125 * 4 * 16 + 2 * 16
    assert n_parameters(published.downs) == 24_031_232
    assert n_parameters(published.ups) == 21_556_624
    assert n_parameters(published.head) == 125 * 32 * 5 + 2 * 5 + 5 * 5 + 5


def test_deepest_stage_worked_by_hand(published: VNet) -> None:
    down = 8 * 128 * 256 + 2 * 256  # kernel, scale and shift
    assert n_parameters(published.downs[3]) == down + 2 * (125 * 256 * 256 + 2 * 256)


def test_first_stage_on_the_way_up_worked_by_hand(published: VNet) -> None:
    up = 8 * 256 * 128 + 128 + 2 * 128  # kernel, bias, scale and shift
    assert n_parameters(published.ups[0]) == up + 2 * (125 * 256 * 256 + 2 * 256)


def test_published_size_with_monais_weights_equals_monai(generator: torch.Generator) -> None:
    theirs = MonaiVNet(in_channels=4, out_channels=3).eval()
    for parameter in (each for each in theirs.parameters() if each.ndim == 1):
        nn.init.uniform_(parameter, 0.5, 1.5, generator=generator)
    ours = VNet(**SIZES["published"]).eval()
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)), strict=True)
    x = torch.randn(1, 4, 16, 16, 32, generator=generator)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("n_in", "order"), [(1, [0, 0, 0, 0]), (2, [0, 1, 0, 1]), (3, [0, 1, 2, 0]), (5, [0, 1, 2, 3])], ids=str
)
def test_sequences_are_added_to_the_first_features_in_turn(
    n_in: int, order: list[int], generator: torch.Generator
) -> None:
    x = torch.randn(1, n_in, 4, 4, 4, generator=generator)
    stem = without_convolutions(Stem(n_in, 4, nn.BatchNorm3d))
    torch.testing.assert_close(stem(x), F.elu(x[:, order]))


def test_a_stage_down_adds_its_strided_input(generator: torch.Generator) -> None:
    x = torch.randn(1, 2, 4, 4, 4, generator=generator)
    stage = without_convolutions(Down(2, 4, n_convs=2, norm=InstanceNorm, dropout=0.5))
    expected = F.elu(F.elu(F.instance_norm(F.conv3d(x, stage.down.weight, stride=2))))
    torch.testing.assert_close(stage(x), expected, rtol=1e-4, atol=1e-5)


def test_a_stage_up_adds_what_it_concatenates(generator: torch.Generator) -> None:
    x, skip = (torch.randn(1, 4, edge, edge, edge, generator=generator) for edge in (2, 4))
    stage = without_convolutions(Up(4, 4, n_convs=2, norm=InstanceNorm, dropout=(0.5, 0.5)))
    up = F.elu(F.instance_norm(F.conv_transpose3d(x, stage.transpconv.weight, stage.transpconv.bias, stride=2)))
    torch.testing.assert_close(stage(x, skip), F.elu(torch.cat((up, skip), dim=1)), rtol=1e-4, atol=1e-5)


def test_dropout_stands_where_monai_has_it(published: VNet) -> None:
    assert [down.dropout.p for down in published.downs] == [0, 0, 0.5, 0.5]
    rates = [[dropout.p for dropout in up.dropouts] for up in published.ups]
    assert rates == [[0.5, 0.5], [0.5, 0.5], [0, 0.5], [0, 0.5]]


def test_dropout_is_on_in_training_only(generator: torch.Generator) -> None:
    network = VNet(channels=(8, 8), n_convs=(1,), n_convs_up=(1,), norm="instance", dropout=0.5)
    x = torch.randn(1, 4, 4, 4, 4, generator=generator)
    assert not torch.equal(network(x), network(x))
    torch.testing.assert_close(network.eval()(x), network(x), rtol=0, atol=0)


def test_without_statistics_the_head_keeps_the_contrast_of_its_features(generator: torch.Generator) -> None:
    head = on_meta("vnet", "compact").head.to_empty(device="cpu")
    for parameter in head.parameters():
        nn.init.normal_(parameter, generator=generator)
    x = torch.rand(1, 16, 4, 4, 4, generator=generator)
    assert head(100 * x).std() > 10 * head(x).std()


def test_compact_size_keeps_no_statistics_of_its_training() -> None:
    assert list(on_meta("vnet", "compact").buffers()) == []
