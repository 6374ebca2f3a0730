"""The voxels of a mask or label map as a list, in an array with a frame of zeros around them.

A tumour fills a small part of its box, so that lists are quicker than volumes; the frame lets every step look a few
voxels around by moving flat indices, without asking where the array ends.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Voxels:
    """Where a label map is not 0.

    Attributes:
        index: (N,) positions in the flattened, C-ordered array, sorted.
        numbers: (N,) the label or lesion at each position; never 0.
        shape: of the array, the frame included.
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
        """The (I, J, K) array again."""
        array = np.zeros(self.shape, self.numbers.dtype)
        array.reshape(-1)[self.index] = self.numbers
        return array

    def mask(self) -> np.ndarray:
        """(I, J, K) bool, True at the voxels."""
        return Voxels(self.index, np.ones(self.index.size, bool), self.shape).paint()


def framed(array: np.ndarray, frame: int) -> np.ndarray:
    """A C-ordered copy of (I, J, K) with that many zeros around it on every side."""
    wider = np.zeros(tuple(n + 2 * frame for n in array.shape), array.dtype)
    wider[(slice(frame, -frame),) * 3] = array
    return wider
