"""The two label maps of a case, cropped to what is not background in either."""

import math
from dataclasses import dataclass

import numpy as np

from htcnns.scores.rules import Tissue
from htcnns.volume import Box, Spacing, bounding_box


@dataclass(frozen=True)
class Pair:
    """A prediction and a truth on one grid, cropped alike.

    Attributes:
        prediction, truth: (I, J, K) uint8, C-ordered.
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


def crop_pair(prediction: np.ndarray, truth: np.ndarray, spacing_mm: Spacing, *, reach: int) -> Pair:
    """The pair cropped to where either is not 0, with `reach` voxels around it as far as the volume goes.

    Args:
        prediction, truth: (I, J, K) uint8 of the same shape.
    """
    box = bounding_box((prediction | truth) != 0) or (slice(0, 1),) * 3
    wider = _wider(box, prediction.shape, reach)
    i, j, k = np.asarray(spacing_mm, np.float32).astype(float)
    return Pair(
        np.ascontiguousarray(prediction[wider]),
        np.ascontiguousarray(truth[wider]),
        prediction.shape,
        (float(i), float(j), float(k)),
    )


def masks_of(label_map: np.ndarray, tissues: tuple[Tissue, ...]) -> dict[str, np.ndarray]:
    """The (I, J, K) bool mask of each tissue in a uint8 label map, by name."""
    masks = {}
    for tissue in tissues:
        table = np.zeros(256, bool)
        table[list(tissue.numbers)] = True
        masks[tissue.name] = table[label_map]
    return masks


def _wider(box: Box, shape: tuple[int, ...], by: int) -> Box:
    i, j, k = (slice(max(s.start - by, 0), min(s.stop + by, n)) for s, n in zip(box, shape, strict=True))
    return i, j, k
