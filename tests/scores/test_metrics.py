"""Whole-mask scores: by hand, against MONAI, and never worse when a voxel is corrected."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_hausdorff_distance
from scipy import ndimage

from htcnns.scores.metrics import (
    DEFINITIONS,
    border_distances_mm,
    dice,
    hd95_medpy_mm,
    hd95_monai_mm,
    nsd,
    sensitivity,
    specificity,
)

ONE_MM = (1.0, 1.0, 1.0)
MASKS = arrays(bool, (4, 3, 5), elements=st.booleans())
PROPERTY = settings(derandomize=True, deadline=None, max_examples=40)


def bar(start: int, stop: int) -> np.ndarray:
    mask = np.zeros((12, 5, 5), bool)
    mask[start:stop, 2, 2] = True
    return mask


def test_overlap_of_two_bars_by_hand() -> None:
    prediction, truth = bar(2, 6), bar(4, 10)  # 4 and 6 voxels, 2 in common
    assert dice(prediction, truth) == 0.4
    assert sensitivity(prediction, truth) == pytest.approx(2 / 6)
    assert specificity(prediction, truth) == pytest.approx((300 - 6 - 2) / (300 - 6))


def test_specificity_counts_the_volume_that_the_masks_were_cropped_from() -> None:
    assert specificity(bar(2, 6), bar(4, 10), n_voxels=1000) == pytest.approx((1000 - 6 - 2) / (1000 - 6))


def test_scores_of_empty_masks() -> None:
    empty, full = bar(0, 0), bar(2, 6)
    assert (dice(empty, empty), dice(full, empty), dice(empty, full)) == (1, 0, 0)
    assert (sensitivity(empty, empty), sensitivity(full, empty), sensitivity(empty, full)) == (1, 0, 0)
    assert (specificity(empty, empty), specificity(empty, full)) == (1, 1)
    assert (nsd(empty, empty, ONE_MM, tolerance_mm=1), nsd(full, empty, ONE_MM, tolerance_mm=1)) == (1, 0)
    assert [hd95_medpy_mm(empty, m, ONE_MM) for m in (empty, full)] == [0, np.inf]
    assert [hd95_monai_mm(m, empty, ONE_MM) for m in (empty, full)] == [0, np.inf]


def test_nsd_of_bars_one_voxel_off_by_hand() -> None:
    """Of five voxels each, four are common; the fifth is 1 mm away."""
    assert nsd(bar(2, 7), bar(3, 8), ONE_MM, tolerance_mm=0.5) == 0.8
    assert nsd(bar(2, 7), bar(3, 8), ONE_MM, tolerance_mm=1.0) == 1.0
    assert nsd(bar(2, 7), bar(3, 8), (1.1, 1.0, 1.0), tolerance_mm=1.0) == 0.8


def test_nsd_beyond_the_searched_shells_by_hand() -> None:
    assert nsd(bar(0, 1), bar(9, 10), ONE_MM, tolerance_mm=9.0) == 1.0
    assert nsd(bar(0, 1), bar(9, 10), ONE_MM, tolerance_mm=8.9) == 0.0


def test_the_three_definitions_of_hd95_disagree_by_hand() -> None:
    """Ten voxels, and the same ten with a stray one 8 mm off: 1 of 11 lies apart one way, 0 of 10 the other."""
    truth = np.zeros((40, 5, 5), bool)
    truth[2:12, 2, 2] = True
    prediction = truth.copy()
    prediction[19, 2, 2] = True
    names = ("hd95-monai", "hd95-medpy", "hd95-deepmind")
    found = {name: DEFINITIONS[name](prediction, truth, ONE_MM) for name in names}
    assert found["hd95-monai"] == pytest.approx(4.0)  # halfway between the 10th and the 11th of eleven
    assert found["hd95-medpy"] == 0.0  # 20 of 21 lie at 0
    assert found["hd95-deepmind"] == 7.0  # the stray voxel has 6 % of the surface; its near half lies 7 mm off


@pytest.mark.parametrize("seed", range(6))
def test_monai_definition_equals_monai(seed: int) -> None:
    prediction, truth = _blobs(seed)
    tensors = [torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (prediction, truth)]
    theirs = compute_hausdorff_distance(*tensors, include_background=True, percentile=95, spacing=(1.0, 2.0, 1.5))
    assert hd95_monai_mm(prediction, truth, (1.0, 2.0, 1.5)) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_border_distances_equal_a_distance_transform(seed: int) -> None:
    prediction, truth = _blobs(seed)
    border = truth & ~ndimage.binary_erosion(truth)
    start = prediction & ~ndimage.binary_erosion(prediction)
    transform = ndimage.distance_transform_edt(~border, sampling=(1.0, 2.0, 1.5))
    found, _ = border_distances_mm(prediction, truth, (1.0, 2.0, 1.5))
    np.testing.assert_allclose(np.sort(found), np.sort(transform[start]), atol=1e-12)


@PROPERTY
@given(MASKS, MASKS, st.integers(0, 59))
def test_correcting_a_voxel_never_lowers_overlap(prediction: np.ndarray, truth: np.ndarray, voxel: int) -> None:
    corrected = prediction.copy()
    corrected.flat[voxel] = truth.flat[voxel]
    assert dice(corrected, truth) >= dice(prediction, truth)
    assert sensitivity(corrected, truth) >= sensitivity(prediction, truth)
    assert specificity(corrected, truth) >= specificity(prediction, truth)


@PROPERTY
@given(MASKS, MASKS)
def test_no_score_is_ever_nan(prediction: np.ndarray, truth: np.ndarray) -> None:
    assert not np.isnan([score(prediction, truth, (1.0, 2.0, 0.5)) for score in DEFINITIONS.values()]).any()


@PROPERTY
@given(MASKS)
def test_a_mask_agrees_with_itself(mask: np.ndarray) -> None:
    assert dice(mask, mask) == 1
    assert nsd(mask, mask, ONE_MM, tolerance_mm=0.5) == 1
    assert hd95_medpy_mm(mask, mask, ONE_MM) == hd95_monai_mm(mask, mask, ONE_MM) == 0


@PROPERTY
@given(MASKS, MASKS)
def test_definitions_are_symmetric(one: np.ndarray, other: np.ndarray) -> None:
    there = [score(one, other, (1.0, 2.0, 0.5)) for score in DEFINITIONS.values()]
    assert there == pytest.approx([score(other, one, (1.0, 2.0, 0.5)) for score in DEFINITIONS.values()])


def _blobs(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.normal(size=(12, 16, 14)), 1.2) for _ in range(2)]
    return [field > np.quantile(field, 0.8) for field in fields]
