"""Whether the sequences look as their names say: two that seem swapped, or a t1c in which nothing enhances.

No segmentation is needed: where one sequence is brightest, another is known to be dark or bright. CSF, brightest in
t2w, is dark in t2f, while oedema, brightest in t2f, is also bright in t2w; vessels are brightest in t1c, but not in
t1n.
"""

import numpy as np

from htcnns.image.notes import Kind, Note
from htcnns.labels import SEQUENCES, Sequence

# Our measurement on 31 real cases: none is reported as swapped; once we swap two sequences, t2w with t2f is detected in
# 30, t2w with t1n or t1c in at least 28, t1n with t1c in 27. With t1n plus noise as t1c, all of 14 are detected.
LEAST_T1C, LEAST_T2F, LEAST_T2W = 0.25, 0.9, 0.25
LEAST_ENHANCEMENT = 1.15  # how far t1c rises above t1n, divided by how far it falls below
FEWEST_VOXELS = 40_000  # of the brain, 40 ml; anything smaller is no head
_SPARSE = (slice(None), *(slice(None, None, 3),) * 3)  # enough to find what is bright
_BRIGHTEST = 96  # percentile above which a voxel is among the brightest of its sequence
_EXTREMES = (0.1, 99.9)  # percentiles of the difference of two sequences


def look_notes(scans: np.ndarray, brain: np.ndarray) -> list[Note]:
    """Sentences on sequences that look swapped, or on a t1c without enhancement.

    Args:
        scans: (4, i, j, k) float32, z-scored; a missing sequence is 0 everywhere and not reported.
        brain: (i, j, k) bool; below FEWEST_VOXELS, nothing is checked.
    """
    if np.count_nonzero(brain) < FEWEST_VOXELS:
        return []
    values = dict(zip(SEQUENCES, scans[_SPARSE][:, brain[_SPARSE[1:]]], strict=True))
    values = {sequence: of_voxels for sequence, of_voxels in values.items() if of_voxels.any()}
    notes = []
    if _lead(values, Sequence.T2F, Sequence.T2W) < -LEAST_T2F:
        notes.append(_swapped(Sequence.T2W, Sequence.T2F))
    else:
        for sequence in (Sequence.T1N, Sequence.T1C):
            if _lead(values, sequence, Sequence.T2W) < -LEAST_T2W:
                return [_swapped(sequence, Sequence.T2W)]  # anything else odd follows from this swap
    lead = _lead(values, Sequence.T1N, Sequence.T1C)
    enhancement = _enhancement(values)
    if lead < -LEAST_T1C and enhancement < 1 / LEAST_ENHANCEMENT:
        notes.append(_swapped(Sequence.T1N, Sequence.T1C))
    elif abs(lead) < LEAST_T1C and 1 / LEAST_ENHANCEMENT < enhancement < LEAST_ENHANCEMENT:
        said = "t1c shows no enhancement over t1n; was contrast agent given?"
        notes.append(Note(said, Kind.NO_CONTRAST_AGENT))
    return notes


def _lead(values: dict[Sequence, np.ndarray], one: Sequence, other: Sequence) -> float:
    """Mean of `other` where `one` is brightest, minus mean of `one` where `other` is; nan if either is missing."""
    if one not in values or other not in values:
        return np.nan
    return _mean_where_bright(values[one], values[other]) - _mean_where_bright(values[other], values[one])


def _mean_where_bright(bright: np.ndarray, values: np.ndarray) -> float:
    return float(values[bright >= np.percentile(bright, _BRIGHTEST)].mean())


def _enhancement(values: dict[Sequence, np.ndarray]) -> float:
    """How far t1c rises above t1n, divided by how far it falls below; nan if it never falls or either is missing."""
    if Sequence.T1N not in values or Sequence.T1C not in values:
        return np.nan
    low, high = np.percentile(values[Sequence.T1C] - values[Sequence.T1N], _EXTREMES)
    return float(high / -low) if low < 0 else np.nan


def _swapped(one: Sequence, other: Sequence) -> Note:
    return Note(f"{one} and {other} look swapped: each is bright where the other should be", Kind.SEQUENCES_SWAPPED)
