"""nnU-Net's plain U-Net: its parts, its names, its normalisation."""

import pytest
import torch
import torch.nn.functional as F
from parameters import n_macs, n_parameters, on_meta

from htcnns.networks.blocks import InstanceNorm
from htcnns.networks.unet import SIZES, UNet


@pytest.fixture(scope="module")
def published() -> UNet:
    return on_meta("unet", "published")


@pytest.fixture
def tiny() -> UNet:
    return UNet(channels=(4, 8, 8), n_convs=(1, 2, 1)).eval()


def test_parameters_part_by_part(published: UNet) -> None:
    assert n_parameters(published.encoder) == 14_027_712
    assert n_parameters(published.decoder.transpconvs) == 1_819_424
    assert n_parameters(published.decoder.stages) == 15_349_440
    assert n_parameters(published.decoder.seg_layers) == 3 * (320 + 256 + 128 + 64 + 32) + 5 * 3


def test_first_stage_worked_by_hand(published: UNet) -> None:
    first = 27 * 4 * 32 + 32 + 2 * 32  # kernel, bias, scale and shift
    second = 27 * 32 * 32 + 32 + 2 * 32
    assert n_parameters(published.encoder.stages[0]) == first + second


def test_names_are_those_of_nnunet_v2(published: UNet) -> None:
    parts = [f"{part}.{kind}" for part in ("conv", "norm") for kind in ("weight", "bias")]
    kinds = ("weight", "bias")
    encoder = {f"encoder.stages.{s}.0.convs.{i}.{part}" for s in range(6) for i in range(2) for part in parts}
    decoder = {f"decoder.stages.{u}.convs.{i}.{part}" for u in range(5) for i in range(2) for part in parts}
    others = {
        f"decoder.{layer}.{u}.{kind}" for layer in ("transpconvs", "seg_layers") for u in range(5) for kind in kinds
    }
    assert set(published.state_dict()) == encoder | decoder | others


def test_weights_have_nnunets_shapes(published: UNet) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in published.state_dict().items()}
    assert shapes["encoder.stages.5.0.convs.0.conv.weight"] == (320, 320, 3, 3, 3)
    assert shapes["decoder.transpconvs.1.weight"] == (320, 256, 2, 2, 2)
    assert shapes["decoder.stages.1.convs.0.conv.weight"] == (256, 512, 3, 3, 3)
    assert shapes["decoder.seg_layers.0.weight"] == (3, 320, 1, 1, 1)


def test_only_the_first_convolution_of_a_lower_stage_strides(published: UNet) -> None:
    strides = [[conv.conv.stride[0] for conv in stage[0].convs] for stage in published.encoder.stages]
    assert strides == [[1, 1]] + [[2, 1]] * 5


def test_upsampled_features_come_before_the_skip(tiny: UNet, generator: torch.Generator) -> None:
    skips = tiny.encoder(torch.randn(1, 4, 8, 8, 8, generator=generator))
    seen = []
    tiny.decoder.stages[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    tiny.decoder(skips)
    torch.testing.assert_close(seen[0][:, :8], tiny.decoder.transpconvs[0](skips[2]))
    torch.testing.assert_close(seen[0][:, 8:], skips[1])


def test_logits_do_not_depend_on_the_scale_of_the_intensities(tiny: UNet, generator: torch.Generator) -> None:
    x = 10 * torch.randn(1, 4, 16, 16, 16, generator=generator)
    torch.testing.assert_close(tiny(5 * x), tiny(x), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("n_batch", [1, 2])
def test_instance_norm_equals_torchs(n_batch: int, generator: torch.Generator) -> None:
    norm = InstanceNorm(5)
    torch.nn.init.normal_(norm.weight, generator=generator)
    torch.nn.init.normal_(norm.bias, generator=generator)
    x = 3 + 2 * torch.randn(n_batch, 5, 4, 6, 8, generator=generator)
    expected = F.instance_norm(x, weight=norm.weight, bias=norm.bias, eps=1e-5)
    torch.testing.assert_close(norm(x), expected, rtol=1e-4, atol=1e-5)


def test_instance_norm_gives_each_channel_mean_0_and_deviation_1(generator: torch.Generator) -> None:
    y = InstanceNorm(2)(7 + 3 * torch.randn(1, 2, 8, 8, 8, generator=generator))
    torch.testing.assert_close(y.mean((2, 3, 4)), torch.zeros(1, 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(y.std((2, 3, 4), correction=0), torch.ones(1, 2), rtol=0, atol=1e-4)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_instance_norm_uses_the_same_statistics_in_training_and_evaluation(
    training: bool, generator: torch.Generator
) -> None:
    x = torch.randn(1, 3, 4, 4, 4, generator=generator)
    torch.testing.assert_close(InstanceNorm(3).train(training)(x), F.instance_norm(x), rtol=1e-4, atol=1e-5)


def test_batch_norm_uses_its_running_statistics_in_evaluation(generator: torch.Generator) -> None:
    network = UNet(channels=(4, 8), n_convs=(1, 1), norm="batch").eval()
    x = torch.randn(1, 4, 8, 8, 8, generator=generator)
    first = network(x)
    network.encoder.stages[0][0].convs[0].norm.running_var.fill_(9.0)
    assert not torch.allclose(network(x), first, atol=1e-3)


def test_an_axis_that_is_halved_less_often_keeps_its_edge(generator: torch.Generator) -> None:
    network = UNet(channels=(4, 8, 8), n_convs=(1, 1, 1), halvings=(2, 2, 1)).eval()
    features = network.encoder(torch.randn(1, 4, 16, 16, 16, generator=generator))
    assert [tuple(each.shape[2:]) for each in features] == [(16, 16, 16), (8, 8, 8), (4, 4, 8)]
    assert network.multiple == (4, 4, 2)
    assert network(torch.randn(1, 4, 8, 8, 6, generator=generator)).shape == (1, 3, 8, 8, 6)


def test_nnunets_plan_for_a_flat_patch_has_as_many_parameters_except_in_one_transposed_kernel() -> None:
    with torch.device("meta"):
        flat = UNet(**SIZES["published"], halvings=(5, 5, 4))
    assert n_parameters(flat) == 31_198_991 - 320 * 320 * 4


def test_kaists_narrow_decoder_has_its_widths() -> None:
    decoder = on_meta("unet", "kaist_large").decoder
    assert [layer.weight.shape[:2] for layer in decoder.transpconvs] == [
        *((512, 512), (256, 512), (256, 256), (128, 128), (64, 64))
    ]
    widths = [[conv.conv.weight.shape[1::-1] for conv in stage.convs] for stage in decoder.stages]
    assert widths == [
        [(1024, 512), (512, 256)],
        [(1024, 512), (512, 256)],
        [(512, 256), (256, 128)],
        [(256, 128), (128, 64)],
        [(128, 64), (64, 32)],
    ]
    assert [layer.weight.shape[1] for layer in decoder.seg_layers] == [256, 256, 128, 64, 32]


def test_kaists_large_network_has_their_parameters_and_biases_that_theirs_lacks() -> None:
    network = on_meta("unet", "kaist_large")
    layers = [*network.decoder.transpconvs, *network.decoder.seg_layers]
    assert n_parameters(network) - sum(layer.bias.numel() for layer in layers) == 87_413_760
    assert n_macs(network) == 1_671_177_830_400
