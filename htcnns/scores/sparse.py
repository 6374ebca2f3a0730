"""Masks and label maps as lists of voxels in arrays with a frame of zeros, and a case's two label maps in that form.

A tumour fills a small part of its box, so lists are faster than volumes; the frame lets every step reach a few voxels
in any direction by shifting flat indices, without bounds checks.
"""

import math
from dataclasses import dataclass

import numpy as np

from htcnns.scores.rules import ScoredRegion
from htcnns.volume import Box, Spacing, bounding_box


@dataclass(frozen=True, eq=False)
class Voxels:
    """Where a label map is not 0.

    Attributes:
        index: (N,) positions in the flattened, C-ordered array, sorted.
        numbers: (N,) the label or lesion at each position; never 0.
        shape: shape of the array, frame included.
    """

    index: np.ndarray
    numbers: np.ndarray
    shape: tuple[int, ...]

    @classmethod
    def of(cls, array: np.ndarray) -> "Voxels":
        """The voxels of an (I, J, K) label map, or of a bool mask, with the number 1."""
        flat = array.reshape(-1).view(np.uint8) if array.dtype == bool else array.reshape(-1)
        index = np.flatnonzero(flat)
        return cls(index, flat[index], array.shape)

    def where(self, keep: np.ndarray) -> "Voxels":
        """The voxels for which the (N,) bool array is True."""
        return Voxels(self.index[keep], self.numbers[keep], self.shape)

    def numbered(self, numbers: np.ndarray) -> "Voxels":
        """The same voxels with other numbers; those with 0 are left out."""
        return Voxels(self.index, numbers, self.shape).where(numbers > 0)

    def paint(self) -> np.ndarray:
        """The (I, J, K) array of the numbers, 0 elsewhere."""
        array = np.zeros(self.shape, self.numbers.dtype)
        array.reshape(-1)[self.index] = self.numbers
        return array

    def mask(self) -> np.ndarray:
        """(I, J, K) bool, True at the voxels."""
        return Voxels(self.index, np.ones(self.index.size, bool), self.shape).paint()


def framed(array: np.ndarray, frame: int) -> np.ndarray:
    """A C-ordered copy of an (I, J, K) array with `frame` zeros added on every side."""
    wider = np.zeros(tuple(n + 2 * frame for n in array.shape), array.dtype)
    wider[(slice(frame, -frame),) * 3] = array
    return wider


@dataclass(frozen=True, eq=False, kw_only=True)
class Pair:
    """A prediction and a truth on one grid, cropped alike, with a frame of zeros.

    Attributes:
        prediction, truth: the labelled voxels.
        shape: shape of the whole volume.
        inside: the part of the framed crop that lies within the volume.
        spacing_mm: voxel size along I, J, K, rounded to float32.
    """

    prediction: Voxels
    truth: Voxels
    shape: tuple[int, ...]
    inside: Box
    spacing_mm: Spacing

    @property
    def n_voxels(self) -> int:
        """Number of voxels of the whole volume."""
        return math.prod(self.shape)

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel: the product of the spacings, as in the official code, even where the grid is sheared."""
        return math.prod(self.spacing_mm)

    def penalty_mm(self, fixed: float | None) -> float:
        """The rule's penalty for an undefined distance: the fixed one, else the diagonal of the volume in voxels."""
        return math.sqrt(sum(n * n for n in self.shape)) if fixed is None else float(fixed)


def crop_pair(prediction: np.ndarray, truth: np.ndarray, spacing_mm: Spacing, *, frame: int) -> Pair:
    """The pair cropped to the box where either is not 0, in a frame of `frame` zeros.

    Args:
        prediction, truth: (I, J, K) uint8 of the same shape.
    """
    box = bounding_box((prediction | truth) != 0) or (slice(0, 1),) * 3
    i, j, k = np.asarray(spacing_mm, np.float32).astype(float)
    one, other = (Voxels.of(framed(label_map[box], frame)) for label_map in (prediction, truth))
    inside = _inside(box, prediction.shape, frame)
    return Pair(
        prediction=one,
        truth=other,
        shape=prediction.shape,
        inside=inside,
        spacing_mm=(float(i), float(j), float(k)),
    )


def region_voxels(label_map: Voxels, region: ScoredRegion) -> Voxels:
    """The voxels of one region, all with the number 1."""
    voxels = label_map.where(number_table(region)[label_map.numbers])
    return voxels.numbered(np.ones(voxels.index.size, np.uint8))


def number_table(region: ScoredRegion) -> np.ndarray:
    """(256,) bool: whether each file number belongs to the region."""
    table = np.zeros(256, bool)
    table[list(region.numbers)] = True
    return table


def _inside(box: Box, shape: tuple[int, ...], frame: int) -> Box:
    i, j, k = (
        slice(max(frame - s.start, 0), min(frame - s.start + n, s.stop - s.start + 2 * frame))
        for s, n in zip(box, shape, strict=True)
    )
    return i, j, k
