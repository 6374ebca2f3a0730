"""Label maps of tumours without images, whose shapes are used in synthetic heads."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from htcnns.errors import InputError
from htcnns.files.folder import entries
from htcnns.files.nifti import STANDARD_SHAPE, read_label_map
from htcnns.files.npz import read_arrays
from htcnns.labels import LabelSet, decode
from htcnns.volume import Spacing, axis_order, bounding_box, spacing_mm, turn

_ENDING = re.compile(r"([-_.](seg|label|mask))?\.nii(\.gz)?$", re.IGNORECASE)
_MARGIN = 2  # voxels of background kept around a tumour


@dataclass(frozen=True, kw_only=True)
class TumourShape:
    """One patient's tumour, cropped.

    Attributes:
        name: name from the file name, or from the array `names` of an .npz file.
        label_map: (i, j, k) uint8 of Label values; i, j, k run to the left, posterior and superior.
        spacing_mm: voxel size along i, j, k.
        corner_mm: position of voxel 0 0 0 along i, j, k, measured from the centre of the whole map.
    """

    name: str
    label_map: np.ndarray
    spacing_mm: Spacing
    corner_mm: tuple[float, float, float]


def read_shapes(folder: Path, numbers: LabelSet) -> tuple[TumourShape, ...]:
    """Every tumour in a folder of NIfTI label maps and of .npz files with many label maps each.

    An .npz file has `label_maps` (n, I, J, K), `names` (n), and optionally `spacing_mm`; without that the maps cover
    the 240 x 240 x 155 mm of BraTS. Maps without tumour are left out.

    Args:
        numbers: label set of the label maps.

    Raises:
        InputError: the folder cannot be listed or has no tumour, a file cannot be read, or a number is unknown.
    """
    listed = entries(folder, expected="a folder of label maps", remedy="Give the folder of tumour label maps.")
    shapes = tuple(shape for path in listed for shape in _read(path, numbers))
    if not shapes:
        raise InputError(
            "no tumour label map",
            place=folder,
            expected="files that end in .nii, .nii.gz or .npz, with tumour in them",
            remedy="Give the folder of tumour label maps.",
        )
    return shapes


def _read(path: Path, numbers: LabelSet) -> Iterator[TumourShape]:
    if path.name.endswith((".nii", ".nii.gz")):
        volume = read_label_map(path)
        order, flips = axis_order(volume.affine)
        spacing = spacing_mm(volume.affine)
        turned = spacing[order[0]], spacing[order[1]], spacing[order[2]]
        yield from _cut(_ENDING.sub("", path.name), turn(volume.array, order, flips), turned, numbers, path)
    elif path.suffix == ".npz":
        names, label_maps, spacing = _read_many(path)
        for name, label_map in zip(names, label_maps, strict=True):
            yield from _cut(name, label_map, spacing, numbers, path)


def _read_many(path: Path) -> tuple[list[str], np.ndarray, Spacing]:
    try:
        pack = read_arrays(path, "label_maps", "names", "spacing_mm")
        label_maps, names = pack["label_maps"], [str(name) for name in pack["names"]]
        edges = pack["spacing_mm"] if "spacing_mm" in pack else np.array(STANDARD_SHAPE) / label_maps.shape[1:]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            "not a file of label maps", place=path, found=error, expected="the arrays label_maps and names"
        ) from error
    return names, label_maps, (float(edges[0]), float(edges[1]), float(edges[2]))


def _cut(name: str, label_map: np.ndarray, spacing: Spacing, numbers: LabelSet, path: Path) -> Iterator[TumourShape]:
    """The tumour of one map as Label values; yields nothing where there is none."""
    box = bounding_box(label_map > 0)
    if box is None:
        return
    cropped = np.pad(decode(label_map[box], numbers, where=f"{path.name}: {name}"), _MARGIN)
    x, y, z = (
        float((edge.start - _MARGIN - (n - 1) / 2) * mm)
        for edge, n, mm in zip(box, label_map.shape, spacing, strict=True)
    )
    yield TumourShape(name=name, label_map=cropped, spacing_mm=spacing, corner_mm=(x, y, z))
