"""Artefacts of scanners and archives: what each one changes, and the background, input and magnitude it keeps."""

from collections.abc import Callable

import numpy as np
import pytest

from htcnns.training import artefacts
from htcnns.training.artefacts import add_noise, coarsen, drop_sequences, misregister, shade, thicken_slices

ALL = [thicken_slices, coarsen, shade, add_noise, misregister, drop_sequences]
Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@pytest.fixture
def array(rng: np.random.Generator) -> np.ndarray:
    """(4, 24, 24, 24) bright noise with background on one side of each axis."""
    array = rng.normal(5, 1, (4, 24, 24, 24)).astype(np.float32)
    array[:, :2] = array[:, :, :2] = array[..., :2] = 0
    return array


@pytest.mark.parametrize("change", ALL, ids=lambda change: change.__name__)
@pytest.mark.parametrize("seed", range(6))
def test_background_input_and_magnitude_are_kept(array: np.ndarray, change: Change, seed: int) -> None:
    before = array.copy()
    changed = change(array, np.random.default_rng(seed))
    np.testing.assert_array_equal(array, before)
    assert (changed.shape, changed.dtype) == (array.shape, np.float32)
    assert (changed[array == 0] == 0).all()
    assert not np.array_equal(changed, array)
    for sequence, original in zip(changed[:, 2:, 2:, 2:], array[:, 2:, 2:, 2:], strict=True):
        assert not sequence.any() or abs(sequence.mean() - original.mean()) < 2.5


@pytest.mark.parametrize("change", ALL, ids=lambda change: change.__name__)
def test_the_same_seed_makes_the_same_change(array: np.ndarray, change: Change) -> None:
    np.testing.assert_array_equal(*(change(array, np.random.default_rng(3)) for _ in range(2)))


@pytest.mark.parametrize("seed", range(6))
def test_thick_slices_lose_detail(array: np.ndarray, seed: int) -> None:
    thick = thicken_slices(array, np.random.default_rng(seed))
    changed = [sequence for sequence in range(4) if not np.array_equal(thick[sequence], array[sequence])]
    assert changed
    inner = (changed, slice(8, -4), slice(4, -4), slice(4, -4))
    assert thick[inner].mean() == pytest.approx(array[inner].mean(), abs=0.1)
    assert thick[inner].std() < 0.8 * array[inner].std()


@pytest.mark.parametrize("seed", range(6))
def test_thick_slices_of_a_slope_are_the_slope(seed: int) -> None:
    array = np.broadcast_to(1 + np.arange(24, dtype=np.float32), (4, 24, 24, 24))
    thick = thicken_slices(array, np.random.default_rng(seed))
    np.testing.assert_allclose(thick[..., 4:-4], array[..., 4:-4], rtol=1e-4)


@pytest.mark.parametrize("change", [thicken_slices, coarsen], ids=lambda change: change.__name__)
def test_some_sequences_may_keep_their_detail(array: np.ndarray, change: Change) -> None:
    kept = [
        sum(np.array_equal(a, b) for a, b in zip(array, change(array, np.random.default_rng(seed)), strict=True))
        for seed in range(40)
    ]
    assert min(kept) == 0
    assert max(kept) > 0
    assert sum(kept) < 120


def test_coarse_sequences_lose_detail_and_keep_the_mean(array: np.ndarray) -> None:
    changed = [coarsen(array, np.random.default_rng(seed))[:, 6:, 6:, 6:] for seed in range(20)]
    inner = array[:, 6:, 6:, 6:]
    deviations = np.array([each.std(axis=(1, 2, 3)) for each in changed]) / inner.std(axis=(1, 2, 3))
    assert deviations.min() < 0.5
    assert deviations.max() == pytest.approx(1)
    assert np.abs(np.array([each.mean(axis=(1, 2, 3)) for each in changed]) - inner.mean(axis=(1, 2, 3))).max() < 0.1


def test_shading_is_smooth_and_differs_between_sequences() -> None:
    shaded = shade(np.ones((4, 24, 24, 24), np.float32), np.random.default_rng(3))
    assert max(np.abs(np.diff(shaded, axis=axis)).max() for axis in (1, 2, 3)) < 1
    assert shaded.std(axis=(1, 2, 3)).min() > 0
    assert len(np.unique(shaded[:, 0, 0, 0])) == 4


def test_shading_changes_bright_tissue_more_than_dark() -> None:
    array = np.full((4, 8, 8, 8), -3.5, np.float32)
    bright = shade(-array, np.random.default_rng(1)) + array
    dark = shade(array, np.random.default_rng(1)) - array
    np.testing.assert_allclose(bright, 15 * dark, atol=1e-4)


def test_noise_has_mean_zero_and_is_mild(array: np.ndarray) -> None:
    added = [add_noise(array, np.random.default_rng(seed)) - array for seed in range(20)]
    assert max(each.std() for each in added) <= artefacts.LARGEST_NOISE
    assert abs(np.mean(added)) < 0.01


def test_one_or_two_sequences_are_misregistered_by_one_or_two_voxels() -> None:
    array = np.broadcast_to(100 + np.indices((24, 24, 24)).sum(0), (4, 24, 24, 24)).astype(np.float32)
    inner = (slice(None), slice(4, -4), slice(4, -4), slice(4, -4))
    moves = [misregister(array, np.random.default_rng(seed))[inner] - array[inner] for seed in range(30)]
    assert all(np.ptp(move, axis=(1, 2, 3)).max() == 0 for move in moves)
    n_moved = [int((move[:, 0, 0, 0] != 0).sum()) for move in moves]
    assert set(n_moved) <= {0, 1, 2}
    assert {1, 2} <= set(n_moved)
    assert max(np.abs(move).max() for move in moves) <= 6


def test_at_least_one_sequence_is_always_left(array: np.ndarray) -> None:
    left = [drop_sequences(array, np.random.default_rng(seed)).any(axis=(1, 2, 3)).sum() for seed in range(40)]
    assert set(left) == {1, 2, 3}
    array[:3] = 0
    np.testing.assert_array_equal(drop_sequences(array, np.random.default_rng(1)), array)
    assert not drop_sequences(np.zeros_like(array), np.random.default_rng(1)).any()
