"""Whether the sequences look as their names say: two that seem swapped, or a t1c in which nothing enhances.

Nothing is segmented for it. Where one sequence is brightest, another is dark or bright in a way that both names decide:
liquor, the brightest of t2w, is dark in t2f, while oedema, the brightest of t2f, is bright in t2w too; vessels, the
brightest of t1c, are not those of t1n.
"""

import numpy as np

from htcnns.image.notes import Kind, Note
from htcnns.labels import SEQUENCES, Sequence

# Our measurement on 31 real cases: none is taken for swapped, and of those whose sequences we swapped, t2w with t2f is
# seen in 30, t2w with t1n or t1c in 28 or more, t1n with t1c in 27; with t1n and noise as t1c, all seen of 14.
LEAST_T1C, LEAST_T2F, LEAST_T2W = 0.25, 0.9, 0.25
LEAST_ENHANCEMENT = 1.15  # what is brighter in t1c than in t1n against what is darker
FEWEST_VOXELS = 40_000  # of the brain, 40 ml; less is no head
_SPARSE = (slice(None), *(slice(None, None, 3),) * 3)  # enough to know what is bright
_BRIGHTEST = 96  # percentile above which a voxel is among the brightest of its sequence
_EXTREMES = (0.1, 99.9)  # percentiles of the difference of two sequences


def look_notes(scans: np.ndarray, brain: np.ndarray) -> list[Note]:
    """Sentences on sequences that look as if they had each other's names.

    Args:
        scans: (4, i, j, k) float32, z-scored; a missing sequence is 0 everywhere and nothing is said of it.
        brain: (i, j, k) bool; in a small one nothing is looked at.
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
                return [_swapped(sequence, Sequence.T2W)]  # what else would look odd follows from it
    lead = _lead(values, Sequence.T1N, Sequence.T1C)
    enhancement = _enhancement(values)
    if lead < -LEAST_T1C and enhancement < 1 / LEAST_ENHANCEMENT:
        notes.append(_swapped(Sequence.T1N, Sequence.T1C))
    elif abs(lead) < LEAST_T1C and 1 / LEAST_ENHANCEMENT < enhancement < LEAST_ENHANCEMENT:
        said = "nothing is brighter in t1c than in t1n as contrast agent would make it; was any given?"
        notes.append(Note(said, Kind.NO_CONTRAST_AGENT))
    return notes


def _lead(values: dict[Sequence, np.ndarray], one: Sequence, other: Sequence) -> float:
    """How much brighter the other is where one is brightest, than the one where the other is; nan if one is missing."""
    if one not in values or other not in values:
        return np.nan
    return _mean_where_bright(values[one], values[other]) - _mean_where_bright(values[other], values[one])


def _mean_where_bright(bright: np.ndarray, values: np.ndarray) -> float:
    return float(values[bright >= np.percentile(bright, _BRIGHTEST)].mean())


def _enhancement(values: dict[Sequence, np.ndarray]) -> float:
    """How far t1c rises above t1n, against how far it falls below; nan if one is missing or both are one."""
    if Sequence.T1N not in values or Sequence.T1C not in values:
        return np.nan
    low, high = np.percentile(values[Sequence.T1C] - values[Sequence.T1N], _EXTREMES)
    return float(high / -low) if low < 0 else np.nan


def _swapped(one: Sequence, other: Sequence) -> Note:
    return Note(f"{one} and {other} look swapped: each is bright where the other should be", Kind.SEQUENCES_SWAPPED)
