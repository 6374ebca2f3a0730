"""nnU-Net's plain U-Net: its parts, its names, its normalisation."""

import pytest
import torch
import torch.nn.functional as F
from parameters import n_parameters, on_meta

from htcnns.networks.blocks import InstanceNorm
from htcnns.networks.unet import UNet


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


def test_names_stand_for_nnunets_shapes(published: UNet) -> None:
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
def test_instance_norm_is_torchs(n_batch: int, generator: torch.Generator) -> None:
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
