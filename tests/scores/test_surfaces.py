"""HD95 by surface elements: solved by hand, against DeepMind's package, and under flips and turns."""

import numpy as np
import pytest
import surface_distance.metrics as deepmind_metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from surface_distance.lookup_tables import create_table_neighbour_code_to_surface_area

from htcnns.scores import distances
from htcnns.scores.surfaces import hd95_mm, surface_areas_mm2

ONE_MM = (1.0, 1.0, 1.0)
SPACINGS = {"1 mm": ONE_MM, "uneven": (1.0, 2.0, 3.5), "thick": (0.9, 0.9, 2.5)}
MASKS = arrays(bool, (5, 4, 6), elements=st.booleans())
PROPERTY = settings(derandomize=True, deadline=None, max_examples=40)


def cube(start: tuple[int, int, int], edge: int, shape: tuple[int, int, int] = (32, 32, 32)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(s, s + edge) for s in start)] = True
    return mask


def test_hd95_of_cubes_two_mm_apart_is_two() -> None:
    assert hd95_mm(cube((4, 8, 8), 8), cube((6, 8, 8), 8), ONE_MM) == 2.0


def test_hd95_of_cubes_two_voxels_apart_counts_the_voxel_size() -> None:
    assert hd95_mm(cube((4, 8, 8), 8), cube((6, 8, 8), 8), (3.0, 1.0, 1.0)) == 6.0


def test_hd95_of_single_voxels_side_by_side_is_one() -> None:
    assert hd95_mm(cube((4, 4, 4), 1), cube((5, 4, 4), 1), ONE_MM) == 1.0


def test_hd95_of_far_single_voxels_is_their_distance_found_by_the_tree() -> None:
    far = hd95_mm(cube((1, 1, 1), 1), cube((21, 11, 1), 1), ONE_MM)
    assert far == pytest.approx(np.hypot(20, 10))


def test_one_stray_voxel_beside_a_large_surface_does_not_count() -> None:
    prediction = cube((4, 4, 4), 16) | cube((28, 28, 28), 1)
    assert hd95_mm(prediction, cube((4, 4, 4), 16), ONE_MM) == 0.0


@pytest.mark.parametrize("spacing_mm", SPACINGS.values(), ids=SPACINGS)
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_hd95_of_specks_is_the_same_by_every_method(
    spacing_mm: tuple[float, float, float], share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(7).standard_normal((2, 40, 30, 24))
    specks, blobs = noise[0] > 1, ndimage.gaussian_filter(noise[1], 2) > 0.1
    blobs[int(40 * share) :] = False
    found = set()
    for sites_per_point in (0, 32, 10**9):  # shells and tree only; as shipped; a distance transform only
        monkeypatch.setattr(distances, "_SITES_PER_POINT", sites_per_point)
        found.add(hd95_mm(specks, blobs, spacing_mm))
    assert len(found) == 1


def test_hd95_is_zero_when_both_are_empty_and_infinite_when_one_is() -> None:
    empty, full = np.zeros((4, 4, 4), bool), np.ones((4, 4, 4), bool)
    assert hd95_mm(empty, empty, ONE_MM) == 0.0
    assert hd95_mm(empty, full, ONE_MM) == hd95_mm(full, empty, ONE_MM) == np.inf


@pytest.mark.parametrize("spacing_mm", SPACINGS.values(), ids=SPACINGS)
def test_areas_equal_deepmind_for_all_256_codes(spacing_mm: tuple[float, float, float]) -> None:
    theirs = create_table_neighbour_code_to_surface_area(spacing_mm)
    np.testing.assert_allclose(surface_areas_mm2(spacing_mm), theirs, rtol=1e-14)


def test_cached_areas_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        surface_areas_mm2(ONE_MM)[1] = 0.0


@pytest.fixture
def deepmind(monkeypatch: pytest.MonkeyPatch) -> object:
    """DeepMind's package, patched for today's numpy and scipy."""
    monkeypatch.setattr(np, "Inf", np.inf, raising=False)
    monkeypatch.setattr(ndimage, "filters", ndimage, raising=False)
    monkeypatch.setattr(ndimage, "morphology", ndimage, raising=False)
    monkeypatch.setattr(deepmind_metrics, "_sort_distances_surfels", lambda d, a: (np.sort(d), a[np.lexsort((a, d))]))
    return deepmind_metrics


@pytest.mark.parametrize("spacing_mm", SPACINGS.values(), ids=SPACINGS)
@pytest.mark.parametrize("seed", range(8))
def test_hd95_equals_deepmind(deepmind: object, seed: int, spacing_mm: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(seed)
    smooth = [ndimage.gaussian_filter(rng.normal(size=(14, 18, 12)), 0.5 + seed / 4) for _ in range(2)]
    prediction, truth = (field > np.quantile(field, 0.6 + seed / 20) for field in smooth)
    theirs = deepmind.compute_robust_hausdorff(  # type: ignore[attr-defined]
        deepmind.compute_surface_distances(truth, prediction, spacing_mm),  # type: ignore[attr-defined]
        95,
    )
    assert hd95_mm(prediction, truth, spacing_mm) == pytest.approx(theirs, abs=1e-12)


@PROPERTY
@given(MASKS, MASKS)
def test_hd95_is_symmetric(one: np.ndarray, other: np.ndarray) -> None:
    assert hd95_mm(one, other, (1.0, 2.0, 3.0)) == hd95_mm(other, one, (1.0, 2.0, 3.0))


@PROPERTY
@given(MASKS)
def test_hd95_of_a_mask_with_itself_is_zero(mask: np.ndarray) -> None:
    assert hd95_mm(mask, mask, ONE_MM) == 0.0


@PROPERTY
@given(MASKS, MASKS, st.permutations(range(3)), st.sets(st.integers(0, 2)))
def test_hd95_does_not_change_when_axes_are_turned_with_their_spacing(
    one: np.ndarray, other: np.ndarray, order: list[int], flipped: set[int]
) -> None:
    spacing_mm = (1.0, 1.5, 3.0)
    turned = [np.flip(mask, tuple(flipped)).transpose(order) for mask in (one, other)]
    i, j, k = (spacing_mm[axis] for axis in order)
    assert hd95_mm(turned[0], turned[1], (i, j, k)) == pytest.approx(hd95_mm(one, other, spacing_mm), abs=1e-12)
