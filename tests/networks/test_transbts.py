"""TransBTS: its parts, its positions, its dropout, its transformer."""

import pytest
import torch
import torch.nn.functional as F
from parameters import n_parameters, on_meta

from htcnns.networks.blocks import InstanceNorm
from htcnns.networks.transbts import TokenTransformer, TransBTS, TransformerLayer


@pytest.fixture(scope="module")
def published() -> TransBTS:
    return on_meta("transbts", "published")


@pytest.fixture
def bottleneck(generator: torch.Generator) -> TokenTransformer:
    layers = [TransformerLayer(8, heads=2, hidden=16, dropout=0.1)]
    transformer = TokenTransformer(4, embedding=8, norm=InstanceNorm, layers=layers, edge=4, dropout=0.1).eval()
    torch.nn.init.normal_(transformer.positions, generator=generator)
    return transformer


@pytest.fixture
def layer() -> TransformerLayer:
    return TransformerLayer(8, heads=2, hidden=16, dropout=0.5).eval()


def test_parameters_part_by_part(published: TransBTS) -> None:
    bottleneck = published.bottleneck
    assert n_parameters(published.stem, published.downs, published.stages) == 4_402_320
    assert n_parameters(bottleneck.layers) == 21_000_192
    assert bottleneck.positions.numel() == 16**3 * 512 == 2_097_152
    assert n_parameters(bottleneck.embed) == 1_769_984
    assert n_parameters(bottleneck.norm) == 256
    assert n_parameters(published.narrow) == 2_212_608
    assert n_parameters(published.deepest) == 885_504
    assert n_parameters(published.ups) == 355_824
    assert n_parameters(published.head) == 3 * 16 + 3


def test_the_rest_of_the_published_parameters_is_dead_or_a_fourth_label(published: TransBTS) -> None:
    dead, fourth_label = 263_680, 16 + 1
    assert n_parameters(published) + dead + fourth_label == 32_987_588


def test_one_transformer_layer_worked_by_hand(published: TransBTS) -> None:
    attention = 512 * 3 * 512 + 512 * 512 + 512
    feed_forward = 512 * 4096 + 4096 + 4096 * 512 + 512
    assert n_parameters(published.bottleneck.layers[0]) == attention + feed_forward + 2 * 2 * 512


def test_positions_are_added_unchanged_at_their_own_size(bottleneck: TokenTransformer) -> None:
    assert bottleneck._positions(torch.Size((4, 4, 4))) is bottleneck.positions


def test_positions_are_interpolated_linearly_to_another_size(bottleneck: TokenTransformer) -> None:
    expected = F.interpolate(bottleneck.positions, size=(2, 4, 6), mode="trilinear", align_corners=False)
    torch.testing.assert_close(bottleneck._positions(torch.Size((2, 4, 6))), expected)


def test_halved_positions_are_the_means_of_neighbours(bottleneck: TokenTransformer) -> None:
    means = F.avg_pool3d(bottleneck.positions, 2)
    torch.testing.assert_close(bottleneck._positions(torch.Size((2, 2, 2))), means)


def test_positions_make_places_differ(bottleneck: TokenTransformer, generator: torch.Generator) -> None:
    x = torch.randn(1, 4, 4, 4, 4, generator=generator)
    placed = bottleneck(x)
    torch.nn.init.zeros_(bottleneck.positions)
    assert not torch.allclose(placed, bottleneck(x))


def test_tokens_return_to_their_voxels(bottleneck: TokenTransformer, generator: torch.Generator) -> None:
    bottleneck.layers = torch.nn.ModuleList()
    x = torch.randn(1, 4, 4, 4, 4, generator=generator)
    expected = bottleneck.embed(F.relu(bottleneck.norm(x))) + bottleneck.positions
    torch.testing.assert_close(bottleneck(x), expected)


def test_attention_is_softmax_of_products_times_values(layer: TransformerLayer, generator: torch.Generator) -> None:
    tokens = torch.randn(1, 5, 8, generator=generator)
    q, k, v = layer.to_qkv(tokens)[0].split(8, dim=1)  # each (5, 8): two heads of width 4 side by side
    one = torch.softmax(q[:, :4] @ k[:, :4].T / 2, dim=1) @ v[:, :4]
    two = torch.softmax(q[:, 4:] @ k[:, 4:].T / 2, dim=1) @ v[:, 4:]
    expected = layer.to_out(torch.cat((one, two), dim=1))[None]
    torch.testing.assert_close(layer._attend(tokens), expected)


def test_permuting_tokens_permutes_the_result_of_a_layer(layer: TransformerLayer, generator: torch.Generator) -> None:
    tokens = torch.randn(2, 6, 8, generator=generator)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(layer(tokens[:, order]), layer(tokens)[:, order])


def test_dropout_is_on_in_training_only(layer: TransformerLayer, generator: torch.Generator) -> None:
    tokens = torch.randn(1, 6, 8, generator=generator)
    torch.testing.assert_close(layer(tokens), layer(tokens), rtol=0, atol=0)
    assert not torch.equal(layer.train()(tokens), layer(tokens))


def test_published_encoder_uses_group_norm_and_the_rest_batch_norm(published: TransBTS) -> None:
    assert isinstance(published.stages[0][0].norm1, torch.nn.GroupNorm)
    assert isinstance(published.narrow[1], torch.nn.BatchNorm3d)


def test_compact_size_keeps_no_statistics_of_its_training() -> None:
    assert list(on_meta("transbts", "compact").buffers()) == []
