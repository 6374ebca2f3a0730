"""Resampling between grids whose outer faces coincide: linear for masks and probabilities, cubic for scans."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.interpolate import make_interp_spline

from htcnns.volume import Shape


def resample(array: np.ndarray, shape: Shape) -> np.ndarray:
    """(C, i, j, k) float32 linearly interpolated to (C, *shape)."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))[None]
    return F.interpolate(tensor, size=shape, mode="trilinear", align_corners=False)[0].numpy()


def resample_scan(scan: np.ndarray, shape: Shape) -> np.ndarray:
    """(i, j, k) float32 intensities as (*shape): cubic splines along axes that become finer, linear along the others.

    Thick slices turn out sharper than with linear interpolation: in each of three real cases, the whole tumour found at
    1 x 1 x 2 mm agrees better with the one found at 1 mm (our measurement with the first weights: Dice .942 instead of
    .929 in the worst case).
    The outermost half of an outer voxel takes the value at its centre. Axes of fewer than four voxels stay linear.
    """
    for axis, (n_in, n_out) in enumerate(zip(scan.shape, shape, strict=True)):
        if n_out > n_in >= 4:
            finer = np.tensordot(_cubic(n_in, n_out), scan, axes=(1, axis))  # the new axis comes first
            scan = np.moveaxis(finer, 0, axis)
    return scan if scan.shape == shape else resample(scan[None], shape)[0]


def _cubic(n_in: int, n_out: int) -> np.ndarray:
    """(n_out, n_in) float32: weight of each input voxel in each output voxel."""
    centres = (np.arange(n_in) + 0.5) * n_out / n_in - 0.5
    splines = make_interp_spline(centres, np.eye(n_in), k=3)
    return splines(np.clip(np.arange(n_out), centres[0], centres[-1])).astype(np.float32)
