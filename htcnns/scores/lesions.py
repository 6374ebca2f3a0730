"""Lesions: connected components, joined by dilation and by touch, and matched between prediction and truth.

A mask is labelled once; all counts come from bincounts of the lesion numbers at its voxels.
Source: rachitsaluja/BraTS-2023-Metrics at 43c9052 and BraTS-2024-Metrics at 9e8879a, reimplemented here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import cc3d
import numpy as np

from htcnns.scores.sparse import Voxels


@dataclass(frozen=True, eq=False)
class Lesions:
    """The lesions of one mask, numbered from 1.

    Attributes:
        voxels: voxels of the mask, each with the number of its lesion.
        reach: (I, J, K) lesion number wherever a lesion or its dilation lies, 0 elsewhere.
        n_lesions: largest lesion number; smaller numbers may be unused.
    """

    voxels: Voxels
    reach: np.ndarray
    n_lesions: int

    @property
    def sizes(self) -> np.ndarray:
        """(n_lesions,) voxels of each lesion; 0 where a number is unused."""
        return np.bincount(self.voxels.numbers, minlength=self.n_lesions + 1)[1:]


@dataclass(frozen=True, eq=False, kw_only=True)
class Matches:
    """Which predicted lesions belong to which lesions of the truth; position 0 is lesion 1.

    Attributes:
        pairs: (n, 2) sorted pairs of a lesion of the truth and a predicted lesion with a voxel within its reach.
            A full table would be too large: masks of 50,000 specks occur.
        n_voxels_truth, n_voxels_prediction: (n_truth,) and (n_prediction,) sizes in voxels; 0 where a number is unused.
        n_common: (n_truth,) predicted voxels inside each lesion.
    """

    pairs: np.ndarray
    n_voxels_truth: np.ndarray
    n_voxels_prediction: np.ndarray
    n_common: np.ndarray

    @property
    def n_false_positives(self) -> int:
        """Number of predicted lesions, however small, that lie within the reach of no lesion of the truth."""
        is_false = self.n_voxels_prediction > 0
        is_false[self.pairs[:, 1] - 1] = False
        return int(is_false.sum())

    def touching(self, lesion: int) -> np.ndarray:
        """Numbers of the predicted lesions within the reach of one lesion of the truth; `lesion` counts from 0."""
        first, last = np.searchsorted(self.pairs[:, 0], [lesion + 1, lesion + 2])
        return self.pairs[first:last, 1]

    def dice(self, lesion: int) -> float:
        """Dice of one lesion, counted from 0, against all predicted lesions that touch it, each taken whole."""
        n_prediction = int(self.n_voxels_prediction[self.touching(lesion) - 1].sum())
        return 2.0 * int(self.n_common[lesion]) / (n_prediction + int(self.n_voxels_truth[lesion]))


def plain_lesions(voxels: Voxels) -> Lesions:
    """The 26-connected components of a mask; a lesion reaches no further than its voxels."""
    return merged_lesions(voxels, voxels.mask())


def merged_lesions(voxels: Voxels, dilated: np.ndarray) -> Lesions:
    """The lesions of a mask; parts that lie near each other count as one lesion.

    Args:
        voxels: voxels of the mask.
        dilated: (I, J, K) bool, the dilated mask; the voxels inside one 26-connected component of it are one lesion.
            That component is also the lesion's reach: dilating the lesion alone would have the same result.
    """
    reach, n_lesions = components(dilated)
    return Lesions(voxels.numbered(reach.reshape(-1)[voxels.index]), reach, n_lesions)


def components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """(I, J, K) unsigned 26-connected components of a C-ordered mask, numbered in scan order, and their number."""
    if not mask.any():
        return np.zeros(mask.shape, np.uint16), 0
    labels, n_components = cc3d.connected_components(mask, connectivity=26, return_N=True, binary_image=True)
    return labels, int(n_components)


def without_small(lesions: Lesions, *, most_voxels: float) -> Lesions:
    """The lesions of more than `most_voxels` voxels; they keep their numbers."""
    kept = np.concatenate([[False], lesions.sizes > most_voxels])
    return _renumbered(lesions, np.where(kept, np.arange(kept.size), 0))


def joined_by_touch(lesions: Lesions, others: Iterable[Lesions]) -> Lesions:
    """The lesions, those that touch the same lesion of another region joined, region by region, and renumbered.

    As in the official code, nothing happens unless at least two pairs touch (18-neighbourhood), and a lesion follows
    only the first, lowest-numbered lesion that it touches.
    """
    for other in others:
        pairs = touching_pairs(lesions, other)
        if len(pairs) > 1:
            lesions = _renumbered(lesions, _partners(pairs, lesions.n_lesions))
    used = np.unique(lesions.voxels.numbers)
    new = np.zeros(lesions.n_lesions + 1, np.int64)
    new[used] = np.arange(1, used.size + 1)
    return _renumbered(lesions, new)


def touching_pairs(one: Lesions, other: Lesions) -> np.ndarray:
    """(n, 2) sorted, unique pairs of lesions of two masks that share a voxel, a face or an edge.

    The outermost voxels of both arrays must be empty.
    """
    _, n_j, n_k = one.voxels.shape
    labels = other.voxels.paint().reshape(-1)
    pairs = [np.zeros((0, 2), np.int64)]
    for i, j, k in product((-1, 0, 1), repeat=3):
        if abs(i) + abs(j) + abs(k) <= 2:
            found = labels[one.voxels.index + (i * n_j * n_k + j * n_k + k)]
            hit = found > 0
            pairs.append(np.unique(np.stack([one.voxels.numbers[hit], found[hit]], axis=1).astype(np.int64), axis=0))
    return np.unique(np.concatenate(pairs), axis=0)


def match(prediction: Lesions, truth: Lesions) -> Matches:
    """Which predicted lesions lie within the reach of which lesions of the truth, with all counts that scores need."""
    reached = truth.reach.reshape(-1)[prediction.voxels.index]
    inside = truth.voxels.mask().reshape(-1)[prediction.voxels.index]
    return Matches(
        pairs=pair_counts(reached, prediction.voxels.numbers)[0],
        n_voxels_truth=truth.sizes,
        n_voxels_prediction=prediction.sizes,
        n_common=np.bincount(reached[inside], minlength=truth.n_lesions + 1)[1:],
    )


def pair_counts(ones: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 2) sorted pairs of numbers at the same position, and (n,) counts of each; pairs with a 0 are left out."""
    width = int(others.max(initial=0)) + 1
    is_pair = (ones > 0) & (others > 0)
    pairs, counts = np.unique(ones[is_pair].astype(np.int64) * width + others[is_pair], return_counts=True)
    return np.stack(np.divmod(pairs, width), axis=1), counts


def dilate(planes: np.ndarray, *, iterations: int) -> np.ndarray:
    """Dilation by the 18-neighbourhood, of all masks of a stack at once.

    Args:
        planes: (I, J, K) bool, or unsigned integers in which each bit is a separate mask; C-ordered, with the outer
            `iterations` voxels on every side 0.
    """
    _, n_j, n_k = planes.shape
    flat = planes.reshape(-1)
    for _ in range(iterations):
        along_i, along_j = _spread(flat, n_j * n_k), _spread(flat, n_k)
        flat = _spread(along_i, n_k) | _spread(along_i, 1) | _spread(along_j, 1)
    return flat.reshape(planes.shape)


def _spread(flat: np.ndarray, step: int) -> np.ndarray:
    """Each voxel combined (OR) with the voxels one step before and after it."""
    wider = flat.copy()
    wider[step:] |= flat[:-step]
    wider[:-step] |= flat[step:]
    return wider


def _partners(pairs: np.ndarray, n_lesions: int) -> np.ndarray:
    """New numbers: lesions with the same first partner share one past the old ones, in the order of the pairs."""
    touched = dict.fromkeys(int(other) for _, other in pairs)
    new = {other: n_lesions + 1 + position for position, other in enumerate(touched)}
    numbers = np.arange(n_lesions + 1)
    for lesion, other in reversed(pairs.tolist()):  # reversed, so that a lesion's first partner is written last
        numbers[lesion] = new[other]
    return numbers


def _renumbered(lesions: Lesions, new: np.ndarray) -> Lesions:
    """The lesions with number n renamed to new[n]; those renamed to 0 are left out."""
    new = new.astype(np.uint32)
    voxels = lesions.voxels.numbered(new[lesions.voxels.numbers])
    return Lesions(voxels, new[lesions.reach], int(new.max(initial=0)))
