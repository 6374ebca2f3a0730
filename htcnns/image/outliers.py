"""Values that no scanner wrote, such as 1e30 or -3.4e38: a few are clipped to the range of the others, many refused.

The z-score divides by the standard deviation of all voxels, so one such voxel makes all others equal, and networks then
see a head without any contrast. Values in the usual range stay bit-identical.
"""

import numpy as np

from htcnns.errors import InputError
from htcnns.labels import Sequence

FARTHEST = 1000.0  # from the median, in interquartile ranges: no vessel or fat is that bright beside brain
MOST_OUTLIERS = 1e-3  # share of the voxels with signal
FEWEST_STEPS = 5  # distinct values that the z-score must keep of a scan that has as many
_SPARSE = (slice(None, None, 4),) * 3  # enough to find the range
_FEWEST_VALUES = 100  # needed for that; with fewer, all voxels are used
_LARGE = 1e9  # above any scanner's intensities; below it the z-score keeps all values distinct
_LARGEST = float(np.finfo(np.float32).max)
_REMEDY = "Replace placeholder values with 0."


def without_outliers(scan: np.ndarray, mask: np.ndarray, sequence: Sequence) -> tuple[np.ndarray, list[str]]:
    """The scan with voxels far outside the range of the others clipped to it, and a note if there were any.

    Args:
        scan: (i, j, k) float32, finite; returned itself, not a copy, if it has no outliers.
        mask: (i, j, k) bool, True where the scan has signal; other voxels are ignored.

    Raises:
        InputError: too many outliers to be a mistake in a few voxels, or values so far apart that z-scores merge them.
    """
    low, high = _usual_range(scan, mask)
    if low <= scan.min() and scan.max() <= high and max(abs(scan.min()), abs(scan.max())) < _LARGE:
        return scan, []
    is_far = mask & ((scan < low) | (scan > high))
    n_far, n_signal = np.count_nonzero(is_far), np.count_nonzero(mask)
    if n_far == 0:
        _require_contrast(scan[mask], sequence)
        return scan, []
    extreme = max(scan[is_far].tolist(), key=abs)
    if n_far > max(1, MOST_OUTLIERS * n_signal):
        raise InputError(
            f"{n_far} of {n_signal} voxels with signal lie far outside the range of the others",
            place=str(sequence),
            found=f"values such as {extreme:.4g}",
            expected=f"at most {MOST_OUTLIERS:.1%} of such voxels",
            remedy=_REMEDY,
        )
    usual = scan[mask & ~is_far]
    cut = np.where(is_far, np.clip(scan, usual.min(), usual.max()), scan)
    what = "1 voxel lies" if n_far == 1 else f"{n_far} voxels lie"
    were = "was" if n_far == 1 else "were"
    return cut, [f"{sequence}: {what} far outside the range of the others ({extreme:.4g}) and {were} cut to it"]


def _usual_range(scan: np.ndarray, mask: np.ndarray) -> tuple[float, float]:
    """FARTHEST interquartile ranges below and above the median; infinite if that range is 0 or there is no signal."""
    values = scan[_SPARSE][mask[_SPARSE]]
    if values.size < _FEWEST_VALUES:
        values = scan[mask]
    if values.size == 0:
        return -np.inf, np.inf
    quarter, median, three_quarters = np.percentile(values.astype(np.float64), [25, 50, 75]).tolist()
    reach = FARTHEST * (three_quarters - quarter)
    if not 0 < reach < _LARGEST:
        return -np.inf, np.inf
    return max(median - reach, -_LARGEST), min(median + reach, _LARGEST)


def _require_contrast(values: np.ndarray, sequence: Sequence) -> None:
    """Raise InputError if z-scoring (N,) values merges distinct ones and leaves fewer than FEWEST_STEPS."""
    if values.size == 0:
        return
    mean, deviation = values.mean(dtype=np.float64), values.std(dtype=np.float64)
    scored = ((values - mean) / (deviation or 1.0)).astype(np.float32)
    if np.unique(scored).size < min(FEWEST_STEPS, np.unique(values).size):
        raise InputError(
            "its values lie too far apart to be normalised",
            place=str(sequence),
            found=f"{values.min():.4g} to {values.max():.4g}",
            expected="the intensities of a scan",
            remedy=_REMEDY,
        )
