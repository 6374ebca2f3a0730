"""Tumours that a case did not have: another case's tumour transplanted, or its own without enhancement."""

import numpy as np
from scipy.ndimage import distance_transform_edt, uniform_filter

from htcnns.image.resample import resample
from htcnns.labels import SEQUENCES, Label, Sequence

FEWEST = 200  # smallest number of tissue voxels on which intensities are matched
STRETCH = (0.5, 2.0)  # smallest and largest scale of a donor's intensities
BLEND_REACH = 1  # voxels by which the blended edge reaches beyond a cut
T1C = SEQUENCES.index(Sequence.T1C)


def quench_enhancement(
    array: np.ndarray, label_map: np.ndarray, t1n_as_t1c: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same tumour as if nothing took up contrast agent: t1c becomes t1n inside it and ET becomes NCR.

    The change fades over five voxels, so that no edge gives it away. It shows networks cases without enhancing tumour
    where the training set has none.

    Args:
        array: (4, i, j, k) float32.
        label_map: (i, j, k) uint8.
        t1n_as_t1c: (i, j, k) float32, the t1n in the contrast of the t1c.
    """
    inside = uniform_filter((label_map > 0).astype(np.float32), size=5)
    fade = np.minimum(1, 2 * inside)
    quenched = array.copy()
    quenched[T1C] = fade * t1n_as_t1c + (1 - fade) * array[T1C]
    return quenched, np.where(label_map == Label.ET, np.uint8(Label.NCR), label_map)


def carve(label_map: np.ndarray, brain: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(i, j, k) bool mask of the cut from a donor: its tumour with some tissue around it, or only the inner part.

    The cut follows a random level of the signed distance to the tumour: from half its depth inside to its whole depth
    outside, either side with the same probability. Distances are computed at half resolution.

    Args:
        label_map: (i, j, k) uint8 label map of the donor, with a tumour.
        brain: (i, j, k) bool, where both heads have brain; nothing outside it is cut.

    Source: CarveMix (Zhang 2021, arXiv 2108.06883).
    """
    coarse = (label_map > 0)[::2, ::2, ::2]
    if not coarse.any():
        return (label_map > 0) & brain
    distance = distance_transform_edt(~coarse) - distance_transform_edt(coarse)
    depth = float(-distance.min())
    level = rng.uniform(-depth / 2, 0) if rng.random() < 0.5 else rng.uniform(0, depth)
    return (resample(distance[None].astype(np.float32), label_map.shape)[0] <= level) & brain


def matched(donor: np.ndarray, host: np.ndarray, tissue: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale and shift per sequence that bring the donor's tissue to the host's mean and standard deviation.

    Args:
        donor, host: (C, n) z-scores at the same n voxels.
        tissue: (n,) bool, voxels that count; with fewer than FEWEST the scales are 1 and the shifts 0.

    Returns:
        (C,) scales and (C,) shifts, float32.
    """
    scales, shifts = np.ones(len(donor), np.float32), np.zeros(len(donor), np.float32)
    if tissue.sum() >= FEWEST:
        one, other = donor[:, tissue], host[:, tissue]
        scales = np.clip(other.std(axis=1) / np.maximum(one.std(axis=1), 1e-3), *STRETCH)
        shifts = other.mean(axis=1) - scales * one.mean(axis=1)
    return scales.astype(np.float32), shifts.astype(np.float32)


def blend(cut: np.ndarray) -> np.ndarray:
    """(i, j, k) float32 from 0 to 1: the weight of the donor, which fades over three voxels at the edge of the cut."""
    return uniform_filter(cut.astype(np.float32), size=2 * BLEND_REACH + 1)
