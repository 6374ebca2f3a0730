"""The two label maps of a case, cropped to what is not background in either, in a frame of zeros."""

import math
from dataclasses import dataclass

import numpy as np

from htcnns.scores.rules import Tissue
from htcnns.scores.voxels import Voxels, framed
from htcnns.volume import Box, Spacing, bounding_box


@dataclass(frozen=True, eq=False)
class Pair:
    """A prediction and a truth on one grid, cropped alike, with a frame of zeros.

    Attributes:
        prediction, truth: the labelled voxels.
        shape: of the whole volume.
        inside: the part of the framed crop that lies within the volume.
        spacing_mm: voxel size along I, J, K, as float32 holds it.
    """

    prediction: Voxels
    truth: Voxels
    shape: tuple[int, ...]
    inside: Box
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

    Args:
        prediction, truth: (I, J, K) uint8 of the same shape.
    """
    box = bounding_box((prediction | truth) != 0) or (slice(0, 1),) * 3
    i, j, k = np.asarray(spacing_mm, np.float32).astype(float)
    one, other = (Voxels.of(framed(label_map[box], frame)) for label_map in (prediction, truth))
    inside = _inside(box, prediction.shape, frame)
    return Pair(one, other, prediction.shape, inside, (float(i), float(j), float(k)))


def tissue_voxels(label_map: Voxels, tissue: Tissue) -> Voxels:
    """The voxels of one tissue, all with the number 1."""
    voxels = label_map.where(number_table(tissue)[label_map.numbers])
    return voxels.numbered(np.ones(voxels.index.size, np.uint8))


def number_table(tissue: Tissue) -> np.ndarray:
    """(256,) bool, whether a file number belongs to the tissue."""
    table = np.zeros(256, bool)
    table[list(tissue.numbers)] = True
    return table


def _inside(box: Box, shape: tuple[int, ...], frame: int) -> Box:
    i, j, k = (
        slice(max(frame - s.start, 0), min(frame - s.start + n, s.stop - s.start + 2 * frame))
        for s, n in zip(box, shape, strict=True)
    )
    return i, j, k
