"""Voxels that no scanner wrote: a few are cut and noted, many are refused, and an ordinary scan is not touched."""

import numpy as np
import pytest

from htcnns.errors import InputError
from htcnns.image.outliers import without_outliers
from htcnns.image.preprocess import PreprocessSettings, preprocess
from htcnns.labels import Sequence

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
INSIDE = (slice(4, 36),) * 3


@pytest.fixture
def scan(rng: np.random.Generator) -> np.ndarray:
    """(40, 40, 40) float32: noise in a cube of 32,768 voxels."""
    scan = np.zeros((40, 40, 40), np.float32)
    scan[INSIDE] = rng.uniform(100, 900, (32, 32, 32))
    return scan


def _z_scores(scan: np.ndarray) -> np.ndarray:
    return preprocess(np.stack([scan] * 4), LPS, PreprocessSettings((1, 1, 1))).array


def test_an_ordinary_scan_is_returned_itself(scan: np.ndarray) -> None:
    cut, notes = without_outliers(scan, scan != 0, Sequence.T1N)
    assert cut is scan
    assert notes == []


def test_bright_vessels_are_not_outliers(scan: np.ndarray) -> None:
    scan[10, 10, 10:30] = 60_000
    assert without_outliers(scan, scan != 0, Sequence.T1N)[0] is scan


@pytest.mark.parametrize("value", [1e30, -3.4e38, 1e9], ids=str)
def test_one_outlier_is_cut_to_the_range_of_the_others_and_noted(scan: np.ndarray, value: float) -> None:
    scan[10, 10, 10] = value
    mask = scan != 0
    cut, (note,) = without_outliers(scan, mask, Sequence.T2F)
    assert note == f"t2f: 1 voxel lies far outside the range of the others ({value:.4g}) and was cut to it"
    others = mask & (np.arange(scan.size).reshape(scan.shape) != np.ravel_multi_index((10, 10, 10), scan.shape))
    np.testing.assert_array_equal(cut[others], scan[others])
    assert cut[10, 10, 10] == (scan[others].max() if value > 0 else scan[others].min())


def test_one_outlier_in_all_four_scans_leaves_the_contrast(scan: np.ndarray) -> None:
    expected = _z_scores(scan)
    scan[10, 10, 10] = 1e30
    found = _z_scores(scan)
    assert np.abs(found).max() < 4
    np.testing.assert_allclose(found[:, :3], expected[:, :3], atol=0.01)


def test_many_outliers_are_refused(scan: np.ndarray) -> None:
    scan[10:14, 10:14, 10:14] = -3.4e38
    with pytest.raises(
        InputError, match=r"t1c: 64 of 32768 voxels .*found values such as -3\.4e\+38, expected at most"
    ):
        without_outliers(scan, scan != 0, Sequence.T1C)


def test_a_second_background_that_hides_the_head_is_refused(scan: np.ndarray) -> None:
    """Most of what is not 0 is -3.4e38, so that it sets the range, and the z-score would have two values."""
    scan[:, :, 10:] = -3.4e38
    scan[0] = 0
    with pytest.raises(InputError, match=r"t1c: its values lie too far apart to be normalised; found -3\.4e\+38 to "):
        without_outliers(scan, scan != 0, Sequence.T1C)


@pytest.mark.parametrize("background", [-3.4e38, -1e10, 1e30], ids=str)
def test_a_background_of_one_value_is_not_an_outlier(scan: np.ndarray, background: float) -> None:
    expected = _z_scores(scan)
    scan[scan == 0] = background
    np.testing.assert_array_equal(_z_scores(scan), expected)


def test_a_mask_in_place_of_a_scan_is_left_to_other_checks(scan: np.ndarray) -> None:
    ones = (scan > 0).astype(np.float32)
    assert without_outliers(ones, ones > 0, Sequence.T1N) == (ones, [])
