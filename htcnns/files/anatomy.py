"""Label maps of whole heads, from which synthetic heads are made."""

from pathlib import Path

import numpy as np

from htcnns.errors import InputError
from htcnns.files.folder import entries
from htcnns.files.nifti import read_volume
from htcnns.volume import axis_order, millimetre_shape, spacing_mm, turn

_ENDINGS = (".nii", ".nii.gz")


def read_anatomies(folder: Path) -> dict[str, np.ndarray]:
    """Every label map of a whole head in the folder, by the file's name without its ending.

    Returns:
        (I, J, K) uint16 arrays in the files' own numbers, axes to the left, posterior and superior, voxels of 1 mm.

    Raises:
        InputError: the folder cannot be listed or has no NIfTI file, or a file cannot be read or is no label map.
    """
    listed = entries(folder, expected="a folder of label maps", remedy="Give the folder of whole-head label maps.")
    paths = [path for path in listed if path.name.endswith(_ENDINGS)]
    if not paths:
        raise InputError(
            "no label map of a head",
            place=folder,
            expected="files that end in .nii or .nii.gz",
            remedy="Give the folder of whole-head label maps in FreeSurfer's numbers.",
        )
    return {path.name.split(".nii")[0]: _read(path) for path in paths}


def _read(path: Path) -> np.ndarray:
    volume = read_volume(path)
    order, flips = axis_order(volume.affine)
    spacing = spacing_mm(volume.affine)
    array = turn(volume.array, order, flips)
    label_map = array.astype(np.uint16)
    if (label_map != array).any():
        raise InputError(
            "values that are not labels",
            place=path,
            expected="whole numbers from 0 to 65535",
            remedy="Give label maps of heads, not scans.",
        )
    shape = millimetre_shape(label_map.shape, (spacing[order[0]], spacing[order[1]], spacing[order[2]]))
    return np.ascontiguousarray(label_map[_nearest(label_map.shape, shape)])


def _nearest(shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Index that resamples an array of `shape` to shape `wanted` by nearest voxel."""
    return np.ix_(*(((np.arange(m) + 0.5) * n / m).astype(int) for n, m in zip(shape, wanted, strict=True)))
