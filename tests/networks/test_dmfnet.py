"""DMFNet: its parts, its units, MIE and SIE worked by hand."""

import pytest
import torch
import torch.nn.functional as F
from parameters import n_macs, n_parameters, on_meta
from torch import Tensor, nn

from htcnns.networks.blocks import InstanceNorm
from htcnns.networks.dmfnet import SIZES, DMFNet, SequenceEnhancement, SpatialEnhancement, Unit

TINY = {"channels": (8, 16, 16), "groups": 4, "norm": "instance"}


@pytest.fixture(scope="module")
def published() -> DMFNet:
    return on_meta("dmfnet", "published", n_out=4)


@pytest.fixture
def mie() -> SequenceEnhancement:
    """Of two sequences; its convolutions return their input as long as it is positive."""
    module = SequenceEnhancement(2, nn.Identity)
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        module.spread[0].weight[:, 0, 1, 1, 1] = 1
        module.join[0].weight[0, :4, 1, 1, 1] = module.join[0].weight[1, 4:, 1, 1, 1] = 1 / 4
    return module


@pytest.fixture
def sie() -> SpatialEnhancement:
    """Of two channels, with random weights."""
    return SpatialEnhancement(2)


def switched(**switches: bool) -> DMFNet:
    with torch.device("meta"):
        return DMFNet(**{**SIZES["published"], **switches}, n_out=4)


def test_parameters_part_by_part(published: DMFNet) -> None:
    assert n_parameters(published.stem) == 27 * 4 * 32
    assert [n_parameters(down) for down in published.downs] == [267_225, 1_283_145, 1_788_416]
    assert [n_parameters(up) for up in published.ups] == [380_160, 137_408, 15_952]
    assert n_parameters(published.head) == 32 * 4
    assert n_parameters(published.mie, published.enhancements) == 0


def test_first_unit_worked_by_hand(published: DMFNet) -> None:
    narrow = 2 * 32 + 32 * 8 + 2 * 8 + 8 * 32  # scale and shift, kernel
    branches = 3 * (2 * 32 + 27 * 32 * 128 // 16) + 3  # three dilations and their weights
    flat = 2 * 128 + 9 * 128 * 128 // 16
    shortcut = 2 * 32 + 8 * 32 * 128
    assert n_parameters(published.downs[0][0]) == narrow + branches + flat + shortcut


def test_only_dilated_units_weigh_their_branches(published: DMFNet) -> None:
    branches = [[len(unit.convs) for unit in down] for down in published.downs]
    assert branches == [[3, 3, 3], [3, 3, 3], [1, 1, 1]]
    assert [unit.weights for unit in (*published.downs[2], *published.ups)] == [None] * 6


@pytest.mark.parametrize(
    ("switches", "parameters", "macs"),
    [
        ({"mie": True}, 3_878_110, 30_901_010_448),  # published: 3.878 M and 30.9 G, without norms in MIE
        ({"sie": True}, 3_912_082, 27_535_081_472),
        ({"mie": True, "sie": True}, 3_914_302, 32_073_318_416),
    ],
    ids=["mie", "sie", "both"],
)
def test_size_of_the_additions(switches: dict, parameters: int, macs: int) -> None:
    network = switched(**switches)
    assert (n_parameters(network), n_macs(network)) == (parameters, macs)


def test_size_of_mie_worked_by_hand() -> None:
    convolutions = 27 * 16 + 27 * 16 * 4
    norms = 2 * 16 + 2 * 4
    assert n_parameters(switched(mie=True).mie) == convolutions + norms + 4 * 2 + 2 * 4 + 4


def test_size_of_sie_worked_by_hand() -> None:
    a_channel = 1 + 27 + 27 + 27 + 4 + 1  # four scales, how they are joined, bias
    assert n_parameters(switched(sie=True).enhancements) == (32 + 128 + 256) * a_channel


def test_a_unit_sums_its_branches_by_weight(generator: torch.Generator) -> None:
    unit = Unit(8, 8, groups=4, norm=InstanceNorm, dilations=(1, 2, 3))
    unit.weights.data = torch.tensor([2.0, 0.0, -1.0])
    seen = []
    unit.flat.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 8, 4, 4, 4, generator=generator)
    unit(x)
    y = unit.widen(unit.narrow(x))
    torch.testing.assert_close(seen[0], 2 * unit.convs[0](y) - unit.convs[2](y))


@pytest.mark.parametrize(("dilation", "reach"), [(1, 1), (2, 2), (3, 3)])
def test_a_dilated_convolution_sees_as_far_as_its_dilation(dilation: int, reach: int) -> None:
    convolution = Unit(4, 4, groups=4, norm=nn.Identity, dilations=(dilation,)).convs[0]
    x = torch.zeros(1, 4, 9, 9, 9)
    x[..., 4, 4, 4] = 1
    changed = convolution(x)[0, 0, :, 4, 4].nonzero().flatten()
    assert changed.tolist() == [4 - reach, 4, 4 + reach]


def test_a_unit_that_keeps_its_shape_adds_its_input_as_it_is(generator: torch.Generator) -> None:
    unit = Unit(8, 8, groups=4, norm=InstanceNorm)
    nn.init.zeros_(unit.flat[2].weight)
    x = torch.randn(1, 8, 4, 4, 4, generator=generator)
    torch.testing.assert_close(unit(x), x)


@pytest.mark.parametrize(("n_out", "stride"), [(16, 1), (16, 2), (8, 2)], ids=str)
def test_a_unit_that_changes_its_shape_has_its_own_shortcut(
    n_out: int, stride: int, generator: torch.Generator
) -> None:
    unit = Unit(8, n_out, groups=4, norm=InstanceNorm, stride=stride)
    nn.init.zeros_(unit.flat[2].weight)
    x = torch.randn(1, 8, 4, 4, 4, generator=generator)
    expected = F.conv3d(F.relu(F.instance_norm(x)), unit.shortcut[2].weight, stride=stride)
    torch.testing.assert_close(unit(x), expected, rtol=1e-4, atol=1e-5)


def test_mie_without_weights_sums_two_halves(mie: SequenceEnhancement, generator: torch.Generator) -> None:
    x = torch.rand(1, 2, 3, 4, 5, generator=generator)
    torch.testing.assert_close(mie(x), x / 2 + x / 2)


def test_mie_weighs_by_sequence_and_by_voxel_by_hand(mie: SequenceEnhancement) -> None:
    x = torch.tensor([[1.0, 3.0], [2.0, 4.0]])[None, :, :, None, None]  # two sequences of two voxels
    with torch.no_grad():
        mie.weigh_sequences[1].weight[:, :, 0, 0, 0] = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        mie.weigh_sequences[2].weight[:, :, 0, 0, 0] = torch.tensor([[2.0, -1.0], [0.0, 1.0]])
        mie.weigh_voxels[0].weight[0, :, 0, 0, 0] = torch.tensor([1.0, -2.0])
    by_sequence = torch.tensor([2 * 2.0 - 3.0, 3.0]).sigmoid()  # of the means 2 and 3
    by_voxel = torch.tensor([1.0 - 4.0, 3.0 - 8.0]).sigmoid()
    expected = x * by_sequence.view(1, 2, 1, 1, 1) + x * by_voxel.view(1, 1, 2, 1, 1)
    torch.testing.assert_close(mie(x), expected)


def test_mie_normalises_after_each_convolution() -> None:
    module = SequenceEnhancement(4, InstanceNorm)
    assert [type(part) for part in (*module.spread, *module.join)] == [nn.Conv3d, InstanceNorm, nn.ReLU] * 2


def test_mie_first_looks_at_each_sequence_alone(generator: torch.Generator) -> None:
    spread = SequenceEnhancement(4, nn.Identity).spread[0]
    x = torch.randn(1, 4, 3, 3, 3, generator=generator)
    other = x.clone()
    other[:, 1] += 1
    changed = (spread(other) != spread(x)).flatten(2).any(2)[0]
    assert changed.nonzero().flatten().tolist() == [4, 5, 6, 7]


def test_sie_without_weights_multiplies_by_one_and_a_half(sie: SpatialEnhancement, generator: torch.Generator) -> None:
    for parameter in sie.join.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(1, 2, 3, 4, 5, generator=generator)
    torch.testing.assert_close(sie(x), 1.5 * x)


def test_sie_joins_the_scales_of_one_channel_by_hand(sie: SpatialEnhancement) -> None:
    x = torch.tensor([2.0, -1.0]).view(1, 2, 1, 1, 1)  # one voxel, so that every scale sees its centre alone
    centres = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.5, 0.25, 0.125, 1.0]])  # by channel and scale
    joined = torch.tensor([[1.0, -1.0, 0.5, 0.25], [2.0, 4.0, 8.0, -1.0]])
    with torch.no_grad():
        for scale, centre in zip(sie.scales, centres.T, strict=True):
            scale.weight[:, 0].flatten(1)[:, scale.weight[0, 0].numel() // 2] = centre
        sie.join.weight[:, :, 0, 0, 0] = joined
        sie.join.bias[:] = torch.tensor([0.0, 0.5])
    # 2 * (1 - 2 + 1.5 + 1) = 3; -1 * (1 + 1 + 1 - 1) + 0.5 = -1.5
    weight = torch.tensor([3.0, -1.5]).sigmoid().view(1, 2, 1, 1, 1)
    torch.testing.assert_close(sie(x), x + x * weight)


def test_channels_do_not_affect_each_other_in_sie(sie: SpatialEnhancement, generator: torch.Generator) -> None:
    x = torch.randn(1, 2, 5, 5, 5, generator=generator)
    other = torch.cat((x[:, :1], x[:, 1:] + 1), dim=1)
    torch.testing.assert_close(sie(other)[:, 0], sie(x)[:, 0], rtol=0, atol=0)
    assert not torch.allclose(sie(other)[:, 1], sie(x)[:, 1])


def test_the_scales_of_sie_see_0_1_2_and_4_voxels_far(sie: SpatialEnhancement) -> None:
    x = torch.zeros(1, 2, 11, 11, 11)
    x[..., 5, 5, 5] = 1
    seen = [scale(x)[0, 0, :, 5, 5].nonzero().flatten().tolist() for scale in sie.scales]
    assert seen == [[5], [4, 5, 6], [3, 5, 7], [1, 5, 9]]


def test_sie_comes_before_each_downsampling(generator: torch.Generator) -> None:
    network = DMFNet(**TINY, mie=False, sie=True).eval()
    seen: list[Tensor] = []
    for down in network.downs:
        down.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 4, 16, 16, 16, generator=generator)
    network(x)
    first = network.enhancements[0](network.stem(x))
    expected = [first, network.enhancements[1](network.downs[0](first))]
    torch.testing.assert_close(seen[:2], expected)
    assert len(network.downs) == len(network.enhancements) == 2


def test_the_skip_comes_before_the_upsampled_features(generator: torch.Generator) -> None:
    network = DMFNet(**TINY, mie=False, sie=False).eval()
    seen: list[Tensor] = []
    network.ups[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 4, 16, 16, 16, generator=generator)
    network(x)
    skip = network.downs[0](network.stem(x))
    up = F.interpolate(network.downs[1](skip), scale_factor=2, mode="trilinear", align_corners=False)
    torch.testing.assert_close(seen[0], torch.cat((skip, up), dim=1))


def test_compact_size_keeps_no_statistics_of_its_training() -> None:
    assert list(on_meta("dmfnet", "compact").buffers()) == []
