"""The two label maps of a case, cropped to what is not background in either, in a frame of zeros.

The frame lets every step look a few voxels around, by moving flat indices, without asking where the array ends.
"""

import math
from dataclasses import dataclass
from functools import reduce

import numpy as np

from htcnns.scores.rules import Tissue
from htcnns.volume import Spacing, bounding_box


@dataclass(frozen=True)
class Pair:
    """A prediction and a truth on one grid, cropped alike, with a frame of zeros.

    Attributes:
        prediction, truth: (I, J, K) uint8, C-ordered; the outer voxels on every side are 0, as many as was asked for.
        shape: of the whole volume.
        spacing_mm: voxel size along I, J, K, as float32 holds it.
    """

    prediction: np.ndarray
    truth: np.ndarray
    shape: tuple[int, ...]
    spacing_mm: Spacing

    @property
    def n_voxels(self) -> int:
        """Voxels of the whole volume."""
        return math.prod(self.shape)

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel."""
        return math.prod(self.spacing_mm)

    def penalty_mm(self, fixed: float | None) -> float:
        """The rule's penalty for a distance that cannot be had: fixed, or the diagonal of the volume in voxels."""
        return math.sqrt(sum(n * n for n in self.shape)) if fixed is None else float(fixed)


def crop_pair(prediction: np.ndarray, truth: np.ndarray, spacing_mm: Spacing, *, frame: int) -> Pair:
    """The pair cropped to where either is not 0, in a frame of that many zeros.

    Dilation may spread into the frame where that lies beyond the volume. This joins no lesions that would otherwise
    stay apart: moved back to the volume's border, every voxel of a path outside is as near to both lesions.

    Args:
        prediction, truth: (I, J, K) uint8 of the same shape.
    """
    box = bounding_box((prediction | truth) != 0) or (slice(0, 1),) * 3
    i, j, k = np.asarray(spacing_mm, np.float32).astype(float)
    return Pair(
        framed(prediction[box], frame), framed(truth[box], frame), prediction.shape, (float(i), float(j), float(k))
    )


def framed(array: np.ndarray, frame: int) -> np.ndarray:
    """A C-ordered copy of (I, J, K) with that many zeros around it on every side."""
    wider = np.zeros(tuple(n + 2 * frame for n in array.shape), array.dtype)
    wider[(slice(frame, -frame),) * 3] = array
    return wider


def masks_of(label_map: np.ndarray, tissues: tuple[Tissue, ...]) -> dict[str, np.ndarray]:
    """The (I, J, K) bool mask of each tissue in a uint8 label map, by name."""
    single = {number: label_map == number for tissue in tissues for number in tissue.numbers}
    return {tissue.name: reduce(np.logical_or, (single[n] for n in tissue.numbers)) for tissue in tissues}
