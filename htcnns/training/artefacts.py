"""Faults of scanners and archives: thick slices, low resolution, shading, noise, misregistration, missing sequences.

Every function takes and returns (C, i, j, k) float32, does not change its argument, and keeps 0 outside the brain.
"""

import numpy as np
import torch

from htcnns.image.resample import resample, resample_scan
from htcnns.training.contrast import DARKEST
from htcnns.training.stretch import stretched

THICK_FACTORS = (2, 3, 4)  # slices merged into one; BraTS was resampled from slices of up to 6 mm
THIN_SHARE = 0.2  # fraction of sequences that stay as they are in a patch with thick slices
COARSE_SHARE = 0.5  # fraction of sequences made coarse in a patch with low resolution
COARSEST = 2.0  # largest voxel edge of such a sequence, in mm
SHADE = 0.3  # largest standard deviation of the logarithm of a coil's sensitivity
SHADE_KNOTS = 4  # along each edge of a patch
LARGEST_NOISE = 0.15  # standard deviation in z-scores; as in nnU-Net, but milder
FARTHEST = 2  # largest shift of a sequence along an axis, in voxels


def thicken_slices(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The patch as if scanned with slices two to four times as thick along a random axis.

    Slices are averaged, then resampled to the patch's grid as a real case with thick slices is before the networks see
    it. As in archives, most sequences are changed but not always all. After nnU-Net's simulation of low resolution.
    """
    axis, factor = int(rng.integers(3)), int(rng.choice(THICK_FACTORS))
    n = array.shape[1 + axis] // factor * factor
    thick = array.copy()
    for sequence in thick:
        if rng.random() >= THIN_SHARE:
            whole = np.moveaxis(sequence, axis, 0)[:n]  # a view: slices first, without an incomplete last group
            means = whole.reshape(n // factor, factor, *whole.shape[1:]).mean(axis=1)
            whole[:] = resample_scan(means, (n, *whole.shape[1:]))
    return thick * (array != 0)


def coarsen(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The patch as if some of its sequences were scanned with voxels of up to two millimetres. After nnU-Net."""
    coarse = array.copy()
    for sequence in coarse:
        if rng.random() < COARSE_SHARE:
            factor = rng.uniform(1, COARSEST)
            i, j, k = (max(1, round(edge / factor)) for edge in sequence.shape)
            sequence[:] = resample(resample(sequence[None], (i, j, k)), sequence.shape)[0]
    return coarse * (array != 0)


def shade(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The patch with a different coil sensitivity in each sequence: a smooth factor on the z-score above DARKEST."""
    strengths = rng.uniform(0, SHADE, (len(array), 1, 1, 1))
    knots = np.exp(rng.normal(0, strengths, (len(array), *[SHADE_KNOTS] * 3))).astype(np.float32)
    shaded = array - np.float32(DARKEST)
    shaded *= stretched(knots, array.shape[1:])
    shaded += np.float32(DARKEST)
    shaded *= array != 0
    return shaded


def add_noise(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The patch with white noise of a random standard deviation."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))  # three times as fast as NumPy's
    noise = torch.randn(array.shape, generator=generator).numpy()
    noise *= np.float32(rng.uniform(0, LARGEST_NOISE))
    noise += array
    noise *= array != 0
    return noise


def misregister(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The patch with one or two of its sequences shifted by one or two voxels along random axes."""
    brain = array.any(axis=0)
    moved = array.copy()
    for number in rng.choice(len(array), size=int(rng.integers(1, 3)), replace=False):
        steps = np.zeros(3, int)
        while not steps.any():
            steps = rng.integers(-FARTHEST, FARTHEST + 1, 3) * (rng.random(3) < 0.5)
        moved[number] = _moved(array[number], steps) * brain
    return moved


def drop_sequences(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The patch with one or more of its sequences set to 0; at least one is always left."""
    there = np.flatnonzero(array.any(axis=(1, 2, 3)))
    left = array.copy()
    if len(there) > 1:
        left[rng.choice(there, size=int(rng.integers(1, len(there))), replace=False)] = 0
    return left


def _moved(scan: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The scan shifted by that many voxels along each axis; its outermost voxels are repeated to fill the gap."""
    places = [np.clip(np.arange(n) - step, 0, n - 1) for n, step in zip(scan.shape, steps, strict=True)]
    return scan[np.ix_(*places)]
