"""The axial-attention U-Net: its parts, attention worked by hand, positions, chunks."""

import pytest
import torch
import torch.nn.functional as F
from parameters import n_parameters, on_meta

from htcnns.networks import axial_unet
from htcnns.networks.axial_unet import AxialAttention, AxialUNet, OneAxis, short_attention


@pytest.fixture(scope="module")
def published() -> AxialUNet:
    return on_meta("axial_unet", "published")


@pytest.fixture
def one_axis() -> OneAxis:
    return OneAxis(6, hidden=8, heads=2)


@pytest.fixture
def attention() -> AxialAttention:
    return AxialAttention(6, hidden=8, heads=2, edge=4)


def softmax_attention(module: OneAxis, line: torch.Tensor) -> torch.Tensor:
    """(L, 6) -> (L, 6): both heads of width 4 written out."""
    q, k, v = (line @ module.to_qkv.weight.T).split(8, dim=1)
    one = torch.softmax(q[:, :4] @ k[:, :4].T / 2, dim=1) @ v[:, :4]
    two = torch.softmax(q[:, 4:] @ k[:, 4:].T / 2, dim=1) @ v[:, 4:]
    return torch.cat((one, two), dim=1) @ module.to_out.weight.T + module.to_out.bias


def test_parameters_part_by_part(published: AxialUNet) -> None:
    unet_v1 = n_parameters(published.encoder, published.transpconvs, published.stages, published.seg_layers)
    axes = n_parameters(*(attention.axes for attention in published.attentions))
    positions = n_parameters(*(attention.positions for attention in published.attentions))
    assert (unet_v1, axes, positions) == (31_198_176, 19_319_040, 44_544)


def test_deepest_attention_worked_by_hand(published: AxialUNet) -> None:
    channels, hidden = 320, 4096
    one_axis = channels * 3 * hidden + hidden * channels + channels
    assert n_parameters(published.attentions[0].axes) == 3 * one_axis
    assert n_parameters(published.attentions[0].positions) == 3 * channels * 8


def test_attention_stands_at_the_four_deepest_levels(published: AxialUNet) -> None:
    edges = [attention.positions[0].shape[1] for attention in published.attentions]
    assert edges == [8, 16, 32, 64]


@pytest.mark.parametrize("size", ["published", "compact"])
def test_no_attention_at_full_resolution(size: str) -> None:
    network = on_meta("axial_unet", size).eval()
    edges = []
    hooks = [
        a.register_forward_hook(lambda _, inputs, __: edges.append(inputs[0].shape[-1])) for a in network.attentions
    ]
    network(torch.empty(1, 4, 128, 128, 128, device="meta"))
    assert len(hooks) == 4
    assert edges == [8, 16, 32, 64]


def test_attention_is_added_to_the_upsampled_features_before_the_skip_joins(generator: torch.Generator) -> None:
    network = AxialUNet(channels=(4, 6, 6), n_convs=(1, 1, 1), hidden=(8,), heads=(2,), edge=8, norm="instance").eval()
    seen = []
    network.stages[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 4, 8, 8, 8, generator=generator)
    network(x)
    skips = network.encoder(x)
    up = network.transpconvs[0](skips[2])
    torch.testing.assert_close(seen[0], torch.cat((up + network.attentions[0](up), skips[1]), dim=1))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_attention_runs_along_each_line_separately(axis: int, one_axis: OneAxis, generator: torch.Generator) -> None:
    x = torch.randn(2, 3, 4, 5, 6, generator=generator)
    lines = x.movedim(1 + axis, -2)
    expected = torch.stack([softmax_attention(one_axis, line) for line in lines.flatten(0, 2)])
    expected = expected.unflatten(0, lines.shape[:3]).movedim(-2, 1 + axis)
    torch.testing.assert_close(one_axis(x, axis=axis), expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_quick_kernels_without_gradients_give_the_same_result(
    axis: int, one_axis: OneAxis, generator: torch.Generator
) -> None:
    x = torch.randn(1, 4, 4, 4, 6, generator=generator)
    with torch.no_grad():
        quick = one_axis(x, axis=axis)
    torch.testing.assert_close(quick, one_axis(x, axis=axis))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_reversing_a_line_reverses_its_result(axis: int, one_axis: OneAxis, generator: torch.Generator) -> None:
    x = torch.randn(1, 3, 4, 5, 6, generator=generator)
    torch.testing.assert_close(one_axis(x.flip(1 + axis), axis=axis), one_axis(x, axis=axis).flip(1 + axis))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_voxel_is_seen_on_its_own_line_only(axis: int, one_axis: OneAxis, generator: torch.Generator) -> None:
    x = torch.randn(1, 4, 4, 4, 6, generator=generator)
    touched = x.clone()
    touched[0, 1, 2, 3] += 1
    changed = (one_axis(touched, axis=axis) - one_axis(x, axis=axis)).abs().amax(-1)[0] > 1e-6
    line = [1, 2, 3]
    line[axis] = slice(None)
    assert changed[tuple(line)].all()
    assert changed.sum() == 4


@pytest.mark.parametrize("n_lines", [1, 5, 16])
def test_chunks_of_the_folded_batch_give_the_same_result(
    n_lines: int, one_axis: OneAxis, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn(2, 4, 4, 4, 6, generator=generator)
    whole = one_axis(x, axis=1)
    monkeypatch.setattr(axial_unet, "LARGEST_FOLDED_BATCH", n_lines * one_axis.heads)
    torch.testing.assert_close(one_axis(x, axis=1), whole)


def test_no_chunk_exceeds_the_limit_of_cuda(
    one_axis: OneAxis, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    folded = []
    attend = OneAxis._attend
    monkeypatch.setattr(OneAxis, "_attend", lambda self, lines: folded.append(len(lines)) or attend(self, lines))
    monkeypatch.setattr(axial_unet, "LARGEST_FOLDED_BATCH", 15)
    one_axis(torch.randn(1, 4, 4, 4, 6, generator=generator), axis=0)
    assert [n_lines * one_axis.heads for n_lines in folded] == [14, 14, 4]


def test_plain_products_on_a_cpu_equal_the_kernels_of_other_devices(generator: torch.Generator) -> None:
    q, k, v = torch.randn(3, 5, 2, 7, 4, generator=generator)
    torch.testing.assert_close(short_attention(q, k, v), F.scaled_dot_product_attention(q, k, v))


def test_attention_in_bf16_equals_fp32_except_for_rounding(generator: torch.Generator) -> None:
    q, k, v = torch.randn(3, 50, 2, 24, 16, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        found = short_attention(q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert found.dtype is torch.bfloat16
    assert (found - short_attention(q, k, v)).abs().mean() < 0.01 * v.abs().mean()


def test_the_three_axes_are_summed(attention: AxialAttention, generator: torch.Generator) -> None:
    x = torch.randn(1, 6, 4, 4, 4, generator=generator)
    i, j, k = (table.detach().T for table in attention.positions)  # (edge, C) each
    placed = x.movedim(1, -1) + i[:, None, None] + j[None, :, None] + k[None, None, :]
    expected = sum(axis_module(placed, axis=axis) for axis, axis_module in enumerate(attention.axes))
    torch.testing.assert_close(attention(x), expected.movedim(-1, 1))


def test_swapping_two_axes_with_their_weights_swaps_the_result(
    attention: AxialAttention, generator: torch.Generator
) -> None:
    x = torch.randn(1, 6, 3, 4, 5, generator=generator)
    expected = attention(x).transpose(2, 4)
    attention.axes = torch.nn.ModuleList(reversed(attention.axes))
    attention.positions = torch.nn.ParameterList(list(attention.positions)[::-1])
    torch.testing.assert_close(attention(x.transpose(2, 4)), expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_positions_keep_their_values_at_their_own_edge(axis: int, generator: torch.Generator) -> None:
    table = torch.randn(6, 4, generator=generator)
    shape = [1, 1, 1, 1, 6]
    shape[1 + axis] = 4
    resized = axial_unet._resized(table, 4, axis)
    assert list(resized.shape) == shape
    torch.testing.assert_close(resized.reshape(4, 6), table.T, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("length", "expected"), [(2, [0.5, 2.5]), (1, [1.5]), (8, [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])]
)
def test_positions_are_interpolated_linearly_to_another_edge(length: int, expected: list[float]) -> None:
    table = torch.arange(4.0)[None]
    torch.testing.assert_close(axial_unet._resized(table, length, 0).flatten(), torch.tensor(expected))


def test_positions_make_places_differ(attention: AxialAttention) -> None:
    y = attention(torch.zeros(1, 6, 4, 4, 4))
    assert not torch.allclose(y[..., 0, 0, 0], y[..., 1, 2, 3])
