"""Windows: positions, weights, joining, mirroring, skipping; MONAI is the oracle."""

import math
from collections.abc import Callable

import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from htcnns.image.windows import gaussian_weights, mirror_axes, place_windows, slide
from htcnns.volume import Shape

SIXTEEN = (16, 16, 16)


@pytest.fixture(autouse=True)
def _one_thread_no_gradients():
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        yield
    torch.set_num_threads(n_threads)


@pytest.fixture
def network() -> nn.Module:
    """A small random convolutional network without flip symmetry, from 4 sequences to 3 probabilities."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        layers = [nn.Conv3d(4, 5, 3, padding=1), nn.LeakyReLU(), nn.Conv3d(5, 3, 3, padding=1), nn.Sigmoid()]
        return nn.Sequential(*layers).eval()


def slide_over(
    network: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
    *,
    size: Shape = SIXTEEN,
    overlap: float = 0.6,
    occupied: torch.Tensor | None = None,
    **how,
) -> torch.Tensor:
    return slide(network, x, place_windows(tuple(x.shape[1:]), size, overlap=overlap, occupied=occupied), **how)


def noise(shape: tuple[int, ...], seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_starts_by_hand() -> None:
    windows = place_windows((21, 10, 7), (10, 10, 10), overlap=0.6)
    assert windows.starts == ((0, 0, 0), (4, 0, 0), (8, 0, 0), (11, 0, 0))
    assert (windows.shape, windows.size) == ((21, 10, 7), (10, 10, 10))


def test_the_standard_brain_has_18_windows_at_the_papers_settings() -> None:
    assert len(place_windows((192, 224, 160), (128, 128, 128), overlap=0.6).starts) == 3 * 3 * 2


def test_starts_without_overlap_touch() -> None:
    assert place_windows((24, 8, 8), (8, 8, 8), overlap=0).starts == ((0, 0, 0), (8, 0, 0), (16, 0, 0))


def test_starts_at_an_overlap_near_one_move_by_one_voxel() -> None:
    assert place_windows((6, 4, 4), (4, 4, 4), overlap=0.99).starts == ((0, 0, 0), (1, 0, 0), (2, 0, 0))


def test_weights_are_one_in_the_middle_and_floored_at_the_corner() -> None:
    weights = gaussian_weights((9, 9, 9))
    assert weights[4, 4, 4] == 1
    assert weights[0, 0, 0] == pytest.approx(1e-3)
    assert weights[4, 4, 5].item() == pytest.approx(math.exp(-0.5 * (1 / (9 / 8)) ** 2))


@pytest.mark.parametrize(
    ("shape", "size", "overlap", "batch"),
    [
        ((30, 37, 26), (16, 16, 16), 0.6, 1),
        ((30, 37, 26), (16, 16, 16), 0.6, 5),
        ((41, 24, 29), (24, 16, 12), 0.5, 2),
        ((25, 25, 25), (16, 24, 8), 0.0, 3),
        ((20, 33, 17), (16, 16, 16), 0.75, 4),
        ((16, 16, 16), (16, 16, 16), 0.6, 1),
        ((11, 40, 13), (16, 16, 16), 0.25, 2),
    ],
    ids=["cube", "batch", "anisotropic", "no overlap", "much overlap", "one window", "padded"],
)
def test_slide_equals_monai(network: nn.Module, shape, size, overlap: float, batch: int) -> None:
    x = noise((4, *shape))
    ours = slide_over(network, x, size=size, overlap=overlap, batch=batch)
    theirs = sliding_window_inference(x[None], size, batch, network, overlap=overlap, mode="gaussian")[0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_mirrored_slide_equals_monai_over_a_network_that_mirrors(network: nn.Module) -> None:
    x = noise((4, 20, 24, 21))
    subsets = [[], [2], [4], [2, 4]]

    def mirroring(windows: torch.Tensor) -> torch.Tensor:
        return torch.stack([network(windows.flip(dims)).flip(dims) for dims in subsets]).mean(dim=0)

    ours = slide_over(network, x, overlap=0.5, mirror_axes=(0, 2))
    theirs = sliding_window_inference(x[None], (16, 16, 16), 1, mirroring, overlap=0.5, mode="gaussian")[0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_slide_of_a_constant_network_is_constant() -> None:
    result = slide_over(lambda w: torch.full((len(w), 3, 16, 16, 16), 0.3), noise((4, 30, 21, 19)))
    torch.testing.assert_close(result, torch.full((3, 30, 21, 19), 0.3), rtol=1e-6, atol=0)


@pytest.mark.parametrize("shape", [(30, 21, 19), (9, 40, 16)], ids=["larger than a window", "partly smaller"])
def test_slide_of_the_identity_returns_the_input(shape) -> None:
    x = noise((4, *shape))
    torch.testing.assert_close(slide_over(lambda w: w, x), x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch", [2, 3, 100])
def test_batch_size_changes_no_bit(batch: int) -> None:
    x = noise((4, 30, 21, 19))

    def ramp(windows: torch.Tensor) -> torch.Tensor:
        return windows[:, :3].sigmoid() * torch.linspace(0, 1, 16)

    assert torch.equal(slide_over(ramp, x, batch=batch), slide_over(ramp, x))


def test_the_last_batch_is_smaller() -> None:
    sizes = []

    def recording(windows: torch.Tensor) -> torch.Tensor:
        sizes.append(len(windows))
        return windows

    slide_over(recording, noise((1, 22, 16, 16)), batch=2)
    assert sizes == [2]
    slide_over(recording, noise((1, 23, 16, 16)), batch=2)
    assert sizes == [2, 2, 1]


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)], ids=str)
def test_mirrored_slide_of_a_flipped_image_is_the_flipped_result(network: nn.Module, axes: tuple[int, ...]) -> None:
    # 24 = 16 + 8: windows at 0 and 8 lie symmetrically, so a flip maps them onto each other
    x, dims = noise((4, 24, 24, 24)), [axis + 1 for axis in axes]
    flipped = slide_over(network, x.flip(dims), overlap=0.5, mirror_axes=axes).flip(dims)
    torch.testing.assert_close(flipped, slide_over(network, x, overlap=0.5, mirror_axes=axes))


def test_without_mirroring_a_flipped_image_gives_another_result(network: nn.Module) -> None:
    x = noise((4, 24, 24, 24))
    flipped = slide_over(network, x.flip(1), overlap=0.5).flip(1)
    assert not torch.allclose(flipped, slide_over(network, x, overlap=0.5), atol=1e-3)


@pytest.mark.parametrize(("axes", "n_passes"), [((), 1), ((1,), 2), ((0, 1, 2), 8)], ids=str)
def test_mirroring_runs_every_combination_of_axes_once(axes: tuple[int, ...], n_passes: int) -> None:
    seen = []

    def recording(windows: torch.Tensor) -> torch.Tensor:
        seen.append(windows.flatten().tolist())
        return windows

    x = torch.arange(64.0).reshape(1, 4, 4, 4)
    result = slide_over(recording, x, size=(4, 4, 4), mirror_axes=axes)
    assert len(seen) == len({*map(tuple, seen)}) == n_passes
    torch.testing.assert_close(result, x)


def occupied_ball(shape: tuple[int, int, int]) -> torch.Tensor:
    occupied = torch.zeros(shape, dtype=torch.bool)
    occupied[3:14, 4:12, 2:15] = True
    return occupied


def test_skipping_changes_no_occupied_voxel(network: nn.Module) -> None:
    x, occupied = noise((4, 48, 40, 36)), occupied_ball((48, 40, 36))
    skipped, whole = slide_over(network, x, occupied=occupied), slide_over(network, x)
    assert torch.equal(skipped[:, occupied], whole[:, occupied])
    assert not torch.equal(skipped, whole)


def test_voxels_whose_windows_were_all_skipped_are_zero(network: nn.Module) -> None:
    occupied = occupied_ball((48, 40, 36))
    result = slide_over(network, noise((4, 48, 40, 36)), occupied=occupied)
    assert (result[:, 30:] == 0).all()
    assert (result[:, :14, :12, :15] > 0).all()


def test_an_image_without_an_occupied_voxel_is_refused(network: nn.Module) -> None:
    with pytest.raises(ValueError, match="no window holds an occupied voxel"):
        slide_over(network, noise((4, 16, 16, 16)), occupied=torch.zeros((16, 16, 16), dtype=torch.bool))


def test_a_padded_image_is_run_only_where_it_is_occupied() -> None:
    x, occupied = noise((1, 6, 6, 40)), torch.zeros((6, 6, 40), dtype=torch.bool)
    occupied[0, 0, 0] = True
    result = slide_over(lambda w: w, x, occupied=occupied)
    torch.testing.assert_close(result[..., :16], x[..., :16])
    assert (result[..., 16:] == 0).all()


def test_windows_without_an_occupied_voxel_are_left_out_by_hand() -> None:
    occupied = torch.zeros((24, 16, 8), dtype=torch.bool)
    occupied[0, 0, 0] = occupied[23, 15, 7] = True
    assert len(place_windows((24, 16, 8), (8, 8, 8), overlap=0).starts) == 6
    assert place_windows((24, 16, 8), (8, 8, 8), overlap=0, occupied=occupied).starts == ((0, 0, 0), (16, 8, 0))


def test_on_window_is_called_with_windows_done_and_in_total(network: nn.Module) -> None:
    calls, occupied = [], occupied_ball((48, 40, 36))
    windows = place_windows((48, 40, 36), SIXTEEN, overlap=0.6, occupied=occupied)
    slide(network, noise((4, 48, 40, 36)), windows, batch=4, on_window=lambda *n: calls.append(n))
    n_windows = len(windows.starts)
    assert n_windows < len(place_windows((48, 40, 36), SIXTEEN, overlap=0.6).starts)
    assert calls[0] == (4, n_windows)
    assert calls[-1] == (n_windows, n_windows)


def test_half_precision_networks_are_summed_in_float32() -> None:
    third = torch.tensor(1 / 3, dtype=torch.bfloat16)
    result = slide_over(lambda w: third.expand(len(w), 3, 16, 16, 16), noise((4, 40, 40, 40)))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, third.float().expand_as(result), rtol=1e-6, atol=0)


def test_the_input_is_left_as_it_was() -> None:
    x = noise((4, 30, 21, 19))
    before = x.clone()
    slide_over(lambda w: w, x)
    assert torch.equal(x, before)


@pytest.mark.parametrize(("mirror", "axes"), [("", ()), ("i", (0,)), ("ki", (2, 0)), ("ijk", (0, 1, 2))])
def test_mirrored_axes_become_numbers(mirror: str, axes: tuple[int, ...]) -> None:
    assert mirror_axes(mirror) == axes


@pytest.mark.parametrize("letters", ["x", "ii", "ij "])
def test_letters_that_name_no_axes_are_refused(letters: str) -> None:
    with pytest.raises(ValueError, match="names no axes"):
        mirror_axes(letters)
