"""Smooth random fields, soft edges and small shifts, which vary heads, tumours and scanners."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from htcnns.volume import Shape

_SMOOTH_MM = 5.0  # fields of larger steps are interpolated by a cubic spline, so that no lattice shows in them
_LINEAR_GAIN, _CUBIC_GAIN = 1.8, 1.35  # interpolation between independent values lowers their variance
_FINER = 3  # factor by which the spline refines the lattice; the rest is linear


def random_field(rng: np.random.Generator, shape: Shape, step_mm: float) -> np.ndarray:
    """(I, J, K) float32 smooth noise of mean 0 and variance about 1 on a grid of 1 mm.

    Args:
        step_mm: distance between the independent values that are interpolated.
    """
    lattice = tuple(int(np.ceil(n / step_mm)) + 3 for n in shape)
    values = rng.standard_normal(lattice, np.float32)
    if step_mm > _SMOOTH_MM:
        values = ndimage.zoom(_CUBIC_GAIN * values, _FINER, order=3, mode="nearest", grid_mode=True)
        step_mm /= _FINER
    else:
        values *= _LINEAR_GAIN
    needed = [int(np.ceil(n / step_mm)) + 1 for n in shape]
    starts = [int(rng.integers(0, have - need + 1)) for have, need in zip(values.shape, needed, strict=True)]
    i, j, k = (slice(start, start + need) for start, need in zip(starts, needed, strict=True))
    return stretched(values[i, j, k], shape)


def stretched(values: np.ndarray, shape: Shape) -> np.ndarray:
    """(…, i, j, k) float32 interpolated linearly to (…, *shape); the corners keep their values."""
    lead = values.shape[:-3]
    source = torch.from_numpy(np.ascontiguousarray(values, np.float32)).reshape(1, -1, *values.shape[-3:])
    return F.interpolate(source, size=shape, mode="trilinear", align_corners=True)[0].numpy().reshape(*lead, *shape)


def sampled(volume: np.ndarray, coordinates: np.ndarray, *, nearest: bool = False) -> np.ndarray:
    """The values of a volume at some coordinates, 0 outside of it.

    Args:
        volume: (C, i, j, k) float32.
        coordinates: (3, I, J, K) float32 voxel positions in the volume.
        nearest: whether to take the nearest voxel instead of interpolating linearly.

    Returns:
        (C, I, J, K) float32.
    """
    scale = np.array([2 / max(1, n - 1) for n in volume.shape[1:]], np.float32)
    grid = torch.from_numpy(np.ascontiguousarray((coordinates * scale[:, None, None, None] - 1)[::-1]))
    read = F.grid_sample(
        torch.from_numpy(volume)[None],
        grid.movedim(0, -1)[None],
        mode="nearest" if nearest else "bilinear",
        align_corners=True,
    )
    return read[0].numpy()


def softened(mask: np.ndarray, sigma_mm: float) -> np.ndarray:
    """(I, J, K) float32 fraction of each voxel's Gaussian neighbourhood that lies in the mask."""
    return ndimage.gaussian_filter(mask.astype(np.float32), sigma_mm, truncate=3)


def shifted(array: np.ndarray, offset: tuple[float, float, float]) -> np.ndarray:
    """(I, J, K) array shifted by that many voxels along each axis, linearly interpolated, the border repeated."""
    for axis, distance in enumerate(offset):
        whole = int(np.floor(distance))
        share = np.float32(distance - whole)
        array = (1 - share) * _rolled(array, whole, axis) + share * _rolled(array, whole + 1, axis)
    return array


def _rolled(array: np.ndarray, n: int, axis: int) -> np.ndarray:
    places = np.clip(np.arange(array.shape[axis]) - n, 0, array.shape[axis] - 1)
    return array.take(places, axis=axis)
