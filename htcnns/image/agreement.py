"""Whether four sequences show the same head: compares their edges, left and right, and their brains.

Contrast differs between sequences, but the edges of one anatomy lie in the same places and run in the same directions.
Two scans are alike if their edges fit better than those of one scan and the mirror image of the other, which fit only
by chance.
"""

import math
from collections.abc import Iterable
from itertools import combinations

import numpy as np
from scipy.ndimage import binary_erosion

from htcnns.labels import SEQUENCES, Sequence
from htcnns.volume import Box, bounding_box

# Our measurement on 13 real cases, likeness of the best pair of a sequence (1 is chance): 1.46 to 2.2; 1.2 with slices
# of 6 mm, a 1 mm shift and noise; at most 1.1 if it is of another patient; at most 0.7 if it is flipped left to right.
LEAST_LIKENESS = 1.15
LEAST_OVERLAP = 0.9  # Dice of two brains; at least 0.964 in those cases, 0.66 after a shift of 30 voxels
_MOST_VOXELS = 10**6  # of the coarse grid
_FINEST_STEP = 2  # 1 mm voxels per coarse voxel, along each axis
_RIM = 3  # coarse voxels: the outer edge of the brain, which a skull-stripping mask may have drawn, does not count
_THINNEST = 2  # coarse voxels along each axis: edges cannot be computed from fewer
_FEWEST_VOXELS = 5000  # coarse voxels, 40 ml, that two scans must share to be compared

_Pair = tuple[int, int]


def agreement_notes(signal: np.ndarray, masks: np.ndarray) -> list[str]:
    """One sentence for each sequence that does not seem to show the same head as the others.

    Args:
        signal: (4, i, j, k) float32 at 1 mm, finite, 0 outside the masks; I runs to the left or to the right.
        masks: (4, i, j, k) bool, True where each has signal; a sequence without signal is not reported.
    """
    box = _symmetric_box(masks)
    if box is None:
        return []
    scans, brains = _coarse(signal[(slice(None), *box)], masks[(slice(None), *box)])
    if min(brains.shape) < _THINNEST:
        return []
    likeness = _likeness(scans, brains)
    if likeness and max(likeness.values()) < LEAST_LIKENESS and min(likeness.values()) > 1 / LEAST_LIKENESS:
        return ["no two sequences seem to show the same head: their edges do not lie in the same places"]
    group = _largest_group(likeness)
    overlaps = _largest_overlaps(brains)
    notes = [
        _overlap_note(number, overlap) if overlap < LEAST_OVERLAP else _edge_note(number, group, likeness)
        for number, overlap in enumerate(overlaps)
        if masks[number].any() and (overlap < LEAST_OVERLAP or number not in group)
    ]
    return [note for note in notes if note]


def _symmetric_box(masks: np.ndarray) -> Box | None:
    """Bounding box of all masks, widened along I until it is symmetric in the array; None if there is no signal."""
    box = bounding_box(np.any(masks, axis=0))
    if box is None:
        return None
    n = masks.shape[1]
    first = min(box[0].start, n - box[0].stop)
    return slice(first, n - first), box[1], box[2]


def _coarse(signal: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(4, i, j, k) float32 means of blocks of a few voxels, at most 1, and bool: whether most of a block has signal."""
    step = max(_FINEST_STEP, math.ceil((math.prod(signal.shape[1:]) / _MOST_VOXELS) ** (1 / 3)))
    scans = np.stack([_block_means(scan / max(np.abs(scan).max(), 1e-30), step) for scan in signal])
    return scans, np.stack([_block_means(mask.astype(np.float32), step) > 0.5 for mask in masks])


def _block_means(array: np.ndarray, step: int) -> np.ndarray:
    """(i // step, j // step, k // step) means of blocks; voxels left over at the ends are dropped."""
    for axis, n in enumerate(array.shape):
        whole = array.swapaxes(0, axis)[: n // step * step]
        array = np.add.reduce([whole[offset::step] for offset in range(step)]).swapaxes(0, axis) / np.float32(step)
    return array


def _likeness(scans: np.ndarray, brains: np.ndarray) -> dict[_Pair, float]:
    """Likeness of each pair: the fit of their edges, divided by that of one and the mirror image of the other.

    Pairs that share too little brain, or have no edges, are left out.
    """
    inside = [binary_erosion(brain, iterations=_RIM) for brain in brains]
    edges = [_edges(scan, mask) for scan, mask in zip(scans, inside, strict=True)]
    mirror = np.array([-1, 1, 1], np.float32).reshape(3, 1, 1, 1)
    found = {}
    for one, other in combinations(range(len(scans)), 2):
        as_they_are = _fit(edges[one], edges[other], inside[one] & inside[other])
        mirrored = _fit(edges[one], edges[other][:, ::-1] * mirror, inside[one] & inside[other][::-1])
        if as_they_are and mirrored:
            found[one, other] = as_they_are / mirrored
    return found


def _edges(scan: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(3, i, j, k) directions of the edges, shorter for weaker ones; all 0 if the median gradient in the mask is 0."""
    gradient = np.stack(np.gradient(scan))
    length = np.sqrt((gradient**2).sum(axis=0))
    usual = float(np.median(length[mask])) if mask.any() else 0.0
    return gradient / np.sqrt(length**2 + usual**2) if usual else np.zeros_like(gradient)


def _fit(edges: np.ndarray, others: np.ndarray, mask: np.ndarray) -> float:
    """Mean squared cosine between two scans' edges inside the mask, weak edges counting less; 0 if it is too small.

    Source: normalised gradient fields (Haber & Modersitzki 2006, doi 10.1007/11866763_89).
    """
    if np.count_nonzero(mask) < _FEWEST_VOXELS:
        return 0.0
    return float(((edges * others).sum(axis=0)[mask] ** 2).mean())


def _largest_group(likeness: dict[_Pair, float]) -> set[int]:
    """The largest group of sequences linked by pairs that are alike; in a tie, the group with t1c."""
    groups = [{number} for number in range(len(SEQUENCES))]
    for (one, other), value in likeness.items():
        if value >= LEAST_LIKENESS:
            joined = {number for group in groups if one in group or other in group for number in group}
            groups = [joined, *(group for group in groups if not group & joined)]
    return max(groups, key=lambda group: (len(group), SEQUENCES.index(Sequence.T1C) in group))


def _overlap_note(number: int, overlap: float) -> str:
    return (
        f"{SEQUENCES[number]} does not seem to show the same head as the others: its brain lies elsewhere, with a Dice "
        f"of {overlap:.2f} at most; is it shifted, cut, or another patient's?"
    )


def _edge_note(number: int, group: set[int], likeness: dict[_Pair, float]) -> str:
    """The sentence on a sequence outside the group; "" if no pair with the group could be compared."""
    values = [
        likeness[pair] for pair in ((min(number, other), max(number, other)) for other in group) if pair in likeness
    ]
    if not values:
        return ""
    if min(values) <= 1 / LEAST_LIKENESS:
        return f"{SEQUENCES[number]} seems to be flipped left to right against {_names(group)}"
    return (
        f"{SEQUENCES[number]} does not seem to show the same head as {_names(group)}: its edges do not lie where "
        "theirs do; is it shifted, or another patient's?"
    )


def _largest_overlaps(brains: np.ndarray) -> list[float]:
    """Largest Dice of each sequence's brain with that of any other; 1 for two empty ones."""
    sizes = [np.count_nonzero(brain) for brain in brains]
    overlaps = np.zeros((len(brains), len(brains)))
    for one, other in combinations(range(len(brains)), 2):
        total = sizes[one] + sizes[other]
        common = np.count_nonzero(brains[one] & brains[other])
        overlaps[one, other] = overlaps[other, one] = 2 * common / total if total else 1.0
    return [float(overlap) for overlap in overlaps.max(axis=1)]


def _names(numbers: Iterable[int]) -> str:
    return ", ".join(SEQUENCES[number] for number in sorted(numbers))
