"""Scores of a whole mask against a whole mask: overlap, surface agreement, and the other definitions of HD95.

Masks are (I, J, K) bool, the prediction first. Every function documents its value for an empty mask, because that is
where libraries disagree; the challenges' own penalties (374 mm and the like) are in `rules`.
"""

import sys
from collections.abc import Callable, Mapping
from functools import reduce
from types import MappingProxyType

import numpy as np

from htcnns.scores.distances import FRAME, Surface, distances_mm, share_within
from htcnns.scores.sparse import Voxels, framed
from htcnns.scores.surfaces import hd95_mm
from htcnns.volume import Spacing, bounding_box

Score = Callable[[np.ndarray, np.ndarray, Spacing], float]


def dice(prediction: np.ndarray, truth: np.ndarray) -> float:
    """Twice the common voxels over the sum of both; 1 when both masks are empty, 0 when one is."""
    common, predicted, true = (int(np.count_nonzero(mask)) for mask in (prediction & truth, prediction, truth))
    return dice_of_counts(common, predicted, true)


def dice_of_counts(n_common: int, n_prediction: int, n_truth: int) -> float:
    """Dice from voxel counts; 1 when there are no voxels at all."""
    return 2.0 * n_common / (n_prediction + n_truth) if n_prediction + n_truth else 1.0


def sensitivity(prediction: np.ndarray, truth: np.ndarray) -> float:
    """The share of the truth that was found; 1 when both masks are empty, 0 when only the truth is.

    Source: the challenges' code adds the smallest float to the denominator, so nothing is ever divided by zero.
    """
    n_truth = np.count_nonzero(truth)
    if n_truth == 0 and not prediction.any():
        return 1.0
    return float(np.count_nonzero(prediction & truth) / (n_truth + sys.float_info.min))


def specificity(prediction: np.ndarray, truth: np.ndarray, *, n_voxels: int | None = None) -> float:
    """The share of the background that was not predicted; 0 when the truth fills the whole volume.

    Args:
        n_voxels: number of voxels of the volume that the masks were cropped from; None if they are not cropped.
    """
    n_voxels = truth.size if n_voxels is None else n_voxels
    n_background = n_voxels - np.count_nonzero(truth)
    n_false = np.count_nonzero(prediction & ~truth)
    return float((n_background - n_false) / (n_background + sys.float_info.min))


def hd95_medpy_mm(prediction: np.ndarray, truth: np.ndarray, spacing_mm: Spacing) -> float:
    """HD95 as in medpy and panoptica: 95th percentile of the border distances of both directions together.

    Border voxels, equal weights, linear interpolation. 0 when both masks are empty, inf when one is.
    """
    if not prediction.any() or not truth.any():
        return 0.0 if prediction.any() == truth.any() else float("inf")
    return float(np.percentile(np.concatenate(border_distances_mm(prediction, truth, spacing_mm)), 95))


def hd95_monai_mm(prediction: np.ndarray, truth: np.ndarray, spacing_mm: Spacing) -> float:
    """HD95 as in MONAI: the larger of the two directions' 95th percentiles of border distances.

    Border voxels, equal weights, linear interpolation. MONAI returns NaN when a mask is empty; a mean that skips NaN
    would then leave the worst cases out, so this is 0 when both masks are empty and inf when one is.
    """
    if not prediction.any() or not truth.any():
        return 0.0 if prediction.any() == truth.any() else float("inf")
    return max(float(np.percentile(d, 95)) for d in border_distances_mm(prediction, truth, spacing_mm))


def nsd(prediction: np.ndarray, truth: np.ndarray, spacing_mm: Spacing, *, tolerance_mm: float) -> float:
    """Normalised surface Dice on border voxels: the mean share of either border within the tolerance of the other.

    1 when both masks are empty, 0 when one is. Not DeepMind's surface Dice, which weights surface elements by area.
    Source: nnU-Net's surface_dice.py, which BraTS 2025 and panoptica use, without its 1e-8 in the denominator.
    """
    box = bounding_box(prediction | truth)
    if box is None:
        return 1.0
    one, other = (border_of(Voxels.of(framed(mask[box], FRAME))) for mask in (prediction, truth))
    return border_nsd(one, other, spacing_mm, tolerance_mm=tolerance_mm)


def border_nsd(one: Surface, other: Surface, spacing_mm: Spacing, *, tolerance_mm: float) -> float:
    """Normalised surface Dice of two borders on one lattice, at most one of them empty; 0 when one is."""
    if one.index.size == 0 or other.index.size == 0:
        return 0.0
    found = share_within(one, other, spacing_mm, tolerance_mm=tolerance_mm)
    return (found + share_within(other, one, spacing_mm, tolerance_mm=tolerance_mm)) / 2.0


def border_distances_mm(
    prediction: np.ndarray, truth: np.ndarray, spacing_mm: Spacing
) -> tuple[np.ndarray, np.ndarray]:
    """Distances (float64 mm) from every border voxel of each mask to the border of the other; neither is empty."""
    box = bounding_box(prediction | truth)
    assert box is not None
    one, other = (border_of(Voxels.of(framed(mask[box], FRAME))) for mask in (prediction, truth))
    return distances_mm(one, other, spacing_mm), distances_mm(other, one, spacing_mm)


def border_of(voxels: Voxels) -> Surface:
    """The voxels with any of their six neighbours outside the mask; beyond the volume counts as outside.

    Args:
        voxels: voxels of a mask in a frame of at least FRAME zeros.
    """
    _, n_j, n_k = voxels.shape
    flat = voxels.mask().reshape(-1)
    steps = (size * way for size in (1, n_k, n_j * n_k) for way in (1, -1))
    border = voxels.where(~reduce(np.logical_and, (flat[voxels.index + step] for step in steps)))
    return Surface.on(border.paint(), border.index, np.ones(border.index.size))


def _nsd_half_mm(prediction: np.ndarray, truth: np.ndarray, spacing_mm: Spacing) -> float:
    return nsd(prediction, truth, spacing_mm, tolerance_mm=0.5)


def _nsd_one_mm(prediction: np.ndarray, truth: np.ndarray, spacing_mm: Spacing) -> float:
    return nsd(prediction, truth, spacing_mm, tolerance_mm=1.0)


DEFINITIONS: Mapping[str, Score] = MappingProxyType(
    {
        "hd95-deepmind": hd95_mm,
        "hd95-medpy": hd95_medpy_mm,
        "hd95-monai": hd95_monai_mm,
        "border-nsd-0.5mm": _nsd_half_mm,
        "border-nsd-1mm": _nsd_one_mm,
    }
)
"""Scores of whole masks that can be asked for by name in addition to a rule's own, whatever the challenge."""
