"""Lesions: connected components, joined by dilation and by touch, and which prediction answers which truth.

All of it works on label volumes that one labelling made; the counts come from one bincount over pairs of labels.
Source: rachitsaluja/BraTS-2023-Metrics at 43c9052 and BraTS-2024-Metrics at 9e8879a, in our own words.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cc3d
import numpy as np


@dataclass(frozen=True)
class Lesions:
    """The lesions of one mask.

    Attributes:
        labels: (I, J, K) uint32, 1 to n_lesions at the lesions' voxels, 0 elsewhere.
        reach: (I, J, K) uint32, the same numbers over each lesion and all that its dilation covers.
        n_lesions: the largest number; numbers without a voxel may occur below it.
    """

    labels: np.ndarray
    reach: np.ndarray
    n_lesions: int


@dataclass(frozen=True)
class Matches:
    """Which predicted lesions answer which lesions of the truth; arrays count from lesion 1 at position 0.

    Attributes:
        touches: (n_truth, n_prediction) bool, the prediction has a voxel within the reach of the lesion.
        n_voxels_truth, n_voxels_prediction: (n_truth,) and (n_prediction,) sizes in voxels; 0 where a number is unused.
        n_common: (n_truth,) predicted voxels inside each lesion.
    """

    touches: np.ndarray
    n_voxels_truth: np.ndarray
    n_voxels_prediction: np.ndarray
    n_common: np.ndarray

    @property
    def n_false_positives(self) -> int:
        """Predicted lesions, however small, within the reach of no lesion at all."""
        return int(((self.n_voxels_prediction > 0) & ~self.touches.any(axis=0)).sum())

    def dice(self, lesion: int) -> float:
        """Dice of one lesion, counted from 0, against all predicted lesions that touch it, whole."""
        n_prediction = int(self.n_voxels_prediction[self.touches[lesion]].sum())
        return 2.0 * int(self.n_common[lesion]) / (n_prediction + int(self.n_voxels_truth[lesion]))


def plain_lesions(mask: np.ndarray) -> Lesions:
    """The 26-connected components of an (I, J, K) bool mask; a lesion reaches no further than its voxels."""
    labels, n_lesions = components(mask)
    return Lesions(labels, labels, n_lesions)


def merged_lesions(mask: np.ndarray, dilated: np.ndarray) -> Lesions:
    """Lesions of which parts near to each other count as one.

    Args:
        mask: (I, J, K) bool.
        dilated: the mask dilated; what one 26-connected component of it covers is one lesion. The reach of a lesion
            is then that component itself: dilating its voxels alone gives the same.
    """
    reach, n_lesions = components(dilated)
    return Lesions(reach * mask, reach, n_lesions)


def components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """(I, J, K) uint32 numbers of the 26-connected components, in the order in which a C-ordered scan meets them."""
    if not mask.any():
        return np.zeros(mask.shape, np.uint32), 0
    labels, n_components = cc3d.connected_components(
        np.ascontiguousarray(mask), connectivity=26, return_N=True, out_dtype=np.uint32, binary_image=True
    )
    return labels, int(n_components)


def without_small(lesions: Lesions, *, most_voxels: float) -> Lesions:
    """Without the lesions of at most so many voxels; the others keep their numbers."""
    sizes = np.bincount(lesions.labels.reshape(-1), minlength=lesions.n_lesions + 1)
    numbers = np.arange(sizes.size, dtype=np.uint32)
    numbers[sizes <= most_voxels] = 0
    return _renumbered(lesions, numbers)


def joined_by_touch(lesions: Lesions, others: Iterable[Lesions]) -> Lesions:
    """Lesions that touch the same lesion of another tissue become one, tissue after tissue; then numbered afresh.

    As the official code does it: nothing happens unless at least two pairs touch (18-neighbourhood), and a lesion
    follows only the first, lowest-numbered lesion that it touches.
    """
    for other in others:
        pairs = touching_pairs(lesions.labels, other.labels)
        if len(pairs) > 1:
            lesions = _renumbered(lesions, _partners(pairs, lesions.n_lesions))
    used = np.unique(lesions.labels)
    numbers = np.zeros(lesions.n_lesions + 1, np.uint32)
    numbers[used] = np.arange(used.size) + (0 if used.size and used[0] == 0 else 1)
    return _renumbered(lesions, numbers)


def touching_pairs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n, 2) numbers of the lesions of two label volumes that share a voxel, a face or an edge; sorted, each once."""
    pairs = [np.zeros((0, 2), np.int64)]
    padded = np.pad(other, 1)
    where = np.nonzero(one)
    for step in np.argwhere(box18()):
        found = padded[tuple(axis + d for axis, d in zip(where, step, strict=True))]
        hit = found > 0
        pairs.append(np.unique(np.stack([one[where][hit], found[hit]], axis=1).astype(np.int64), axis=0))
    return np.unique(np.concatenate(pairs), axis=0)


def match(prediction: Lesions, truth: Lesions) -> Matches:
    """Which predicted lesions lie within the reach of which lesions of the truth, and every count that scores need."""
    voxels = np.flatnonzero(prediction.labels)
    predicted = prediction.labels.reshape(-1)[voxels].astype(np.int64)
    reached = truth.reach.reshape(-1)[voxels].astype(np.int64)
    shape = truth.n_lesions + 1, prediction.n_lesions + 1
    table = np.bincount(reached * shape[1] + predicted, minlength=shape[0] * shape[1]).reshape(shape)
    return Matches(
        touches=table[1:, 1:] > 0,
        n_voxels_truth=_sizes(truth),
        n_voxels_prediction=table[:, 1:].sum(axis=0),
        n_common=np.bincount(truth.labels.reshape(-1)[voxels], minlength=shape[0])[1:],
    )


def dilate(planes: np.ndarray, *, iterations: int) -> np.ndarray:
    """Dilation by the 18-neighbourhood, of all masks of a stack at once; nothing enters from beyond the array.

    Args:
        planes: (I, J, K) bool, or unsigned integers whose every bit is a mask of its own.
    """
    for _ in range(iterations):
        along_i, along_j = _spread(planes, 0), _spread(planes, 1)
        planes = _spread(along_i, 1) | _spread(along_i, 2) | _spread(along_j, 2)
    return planes


def box18() -> np.ndarray:
    """(3, 3, 3) bool: a voxel with its six face and twelve edge neighbours."""
    distance = np.abs(np.indices((3, 3, 3)) - 1).sum(axis=0)
    return distance <= 2


def _spread(planes: np.ndarray, axis: int) -> np.ndarray:
    """Each voxel joined with both its neighbours along one axis."""
    wider = planes.copy()
    from_source, to_wider = np.moveaxis(planes, axis, 0), np.moveaxis(wider, axis, 0)
    to_wider[1:] |= from_source[:-1]
    to_wider[:-1] |= from_source[1:]
    return wider


def _partners(pairs: np.ndarray, n_lesions: int) -> np.ndarray:
    """New numbers, past the old ones: one for each lesion that is touched, in the order of the pairs."""
    touched = {int(other): None for _, other in pairs}
    new = {other: n_lesions + 1 + position for position, other in enumerate(touched)}
    numbers = np.arange(n_lesions + 1, dtype=np.uint32)
    first = dict(reversed([(int(lesion), int(other)) for lesion, other in pairs]))
    for lesion, other in first.items():
        numbers[lesion] = new[other]
    return numbers


def _renumbered(lesions: Lesions, numbers: np.ndarray) -> Lesions:
    reach = numbers[lesions.reach]
    return Lesions(reach * (lesions.labels > 0), reach, int(numbers.max(initial=0)))


def _sizes(lesions: Lesions) -> np.ndarray:
    return np.bincount(lesions.labels.reshape(-1), minlength=lesions.n_lesions + 1)[1:]
