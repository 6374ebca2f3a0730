"""Whether four sequences show one head: their edges, left and right, and their brains against each other.

Contrasts differ, but edges of one anatomy lie in the same places and run the same way. Two scans are alike when their
edges fit better than those of one scan and the mirror image of the other, which shows what chance alone gives.
"""

import math
from collections.abc import Iterable
from itertools import combinations

import numpy as np
from scipy.ndimage import binary_erosion

from htcnns.labels import SEQUENCES, Sequence
from htcnns.volume import Box, bounding_box

# Our measurement on 13 real cases: the best pair of a sequence is 1.46 to 2.2 times as alike as by chance, 1.2 with
# slices of 6 mm, 1 mm off and noise; of another patient at most 1.1; of one flipped left to right 0.7 or less.
LEAST_LIKENESS = 1.15
LEAST_OVERLAP = 0.9  # Dice of two brains; 0.964 or more in those cases, 0.66 when shifted by 30 voxels
_MOST_VOXELS = 10**6  # of the coarse grid
_FINEST_STEP = 2  # voxels of 1 mm to one of the coarse grid
_RIM = 3  # coarse voxels: the edge of the brain itself, which a mask may have drawn, does not count
_THINNEST = 2  # coarse voxels along each axis: edges cannot be told in fewer
_FEWEST_VOXELS = 5000  # coarse ones that two scans must share, 40 ml, to be judged

_Pair = tuple[int, int]


def agreement_notes(signal: np.ndarray, masks: np.ndarray) -> list[str]:
    """One sentence for each sequence that does not seem to show the head of the others.

    Args:
        signal: (4, i, j, k) float32 at 1 mm, finite, 0 outside the masks; I runs to the left or to the right.
        masks: (4, i, j, k) bool, True where each has signal; nothing is said of a sequence that has none.
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
    """The box of all masks, widened along I until it is its own mirror image; None without any signal."""
    box = bounding_box(np.any(masks, axis=0))
    if box is None:
        return None
    n = masks.shape[1]
    first = min(box[0].start, n - box[0].stop)
    return slice(first, n - first), box[1], box[2]


def _coarse(signal: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over blocks of a few voxels as (4, i, j, k) float32, at most 1, and where most of a block has signal."""
    step = max(_FINEST_STEP, math.ceil((math.prod(signal.shape[1:]) / _MOST_VOXELS) ** (1 / 3)))
    scans = np.stack([_block_means(scan / max(np.abs(scan).max(), 1e-30), step) for scan in signal])
    return scans, np.stack([_block_means(mask.astype(np.float32), step) > 0.5 for mask in masks])


def _block_means(array: np.ndarray, step: int) -> np.ndarray:
    """(i / step, j / step, k / step): what is left over at the ends is left out."""
    for axis, n in enumerate(array.shape):
        whole = array.swapaxes(0, axis)[: n // step * step]
        array = np.add.reduce([whole[offset::step] for offset in range(step)]).swapaxes(0, axis) / np.float32(step)
    return array


def _likeness(scans: np.ndarray, brains: np.ndarray) -> dict[_Pair, float]:
    """How much better the edges of each pair fit than those of one and the other's mirror image.

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
    """(3, i, j, k) directions of the edges, the shorter the weaker they are; all 0 where there are none."""
    gradient = np.stack(np.gradient(scan))
    length = np.sqrt((gradient**2).sum(axis=0))
    usual = float(np.median(length[mask])) if mask.any() else 0.0
    return gradient / np.sqrt(length**2 + usual**2) if usual else np.zeros_like(gradient)


def _fit(edges: np.ndarray, others: np.ndarray, mask: np.ndarray) -> float:
    """Mean squared cosine between two scans' edges inside the mask, weak edges counting less; 0 if it is small.

    Source: normalised gradient fields (Haber & Modersitzki 2006, doi 10.1007/11866763_89).
    """
    if np.count_nonzero(mask) < _FEWEST_VOXELS:
        return 0.0
    return float(((edges * others).sum(axis=0)[mask] ** 2).mean())


def _largest_group(likeness: dict[_Pair, float]) -> set[int]:
    """The most sequences that hang together by pairs that are alike; in a tie those with the t1c."""
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
    """The sentence on a sequence outside the group; "" where no pair with the group could be judged."""
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
    """Dice of each sequence's brain with the one that it fits best; 1 where both are empty."""
    sizes = [np.count_nonzero(brain) for brain in brains]
    overlaps = np.zeros((len(brains), len(brains)))
    for one, other in combinations(range(len(brains)), 2):
        total = sizes[one] + sizes[other]
        common = np.count_nonzero(brains[one] & brains[other])
        overlaps[one, other] = overlaps[other, one] = 2 * common / total if total else 1.0
    return [float(overlap) for overlap in overlaps.max(axis=1)]


def _names(numbers: Iterable[int]) -> str:
    return ", ".join(SEQUENCES[number] for number in sorted(numbers))
