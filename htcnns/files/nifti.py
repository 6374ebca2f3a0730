"""Reading and writing scans, label maps and masks as NIfTI files, with their geometry kept."""

from collections.abc import Iterable
from functools import partial
from math import prod
from pathlib import Path

import numpy as np

from htcnns.errors import InputError, OutputError
from htcnns.files.atomic import write_whole
from htcnns.files.gzip_stream import open_packed, pack, pieces
from htcnns.files.header_checks import MAX_VOXELS
from htcnns.files.nifti_header import (
    OWN_MARK,
    Header,
    Layout,
    file_content,
    header_like,
    header_of,
    read_geometry,
    read_layout,
)
from htcnns.labels import LabelSet, decode, encode
from htcnns.volume import Grid, Volume, grid_difference, size_text

STANDARD_SHAPE = (240, 240, 155)
STANDARD_AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])  # BraTS's own grid
STANDARD_AFFINE.setflags(write=False)


def read_grid(path: Path) -> Grid:
    """Shape, affine and doubts about the affine from the header alone, with the checks of `read_volume`."""
    with open_packed(path) as stream:
        return read_layout(stream, path).grid()


def read_volume(path: Path, *, into: np.ndarray | None = None) -> Volume:
    """The scan in a NIfTI-1 or -2 file, gzipped or not: (I, J, K) float32 with slope and intercept applied.

    The array lies in memory as in the file, I fastest. The affine is the sform where its code is set, else the qform.

    Args:
        into: (I, J, K) float32, I fastest, that is filled and becomes the volume's array; None allocates one.

    Raises:
        InputError: the file cannot be read, or its scan is not 3-D, empty, constant, or has NaN or infinite voxels.
    """
    layout, array = _load(path, np.float32, into=into)
    with np.errstate(invalid="ignore"):
        low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        n_nan, n_inf = int(np.isnan(array).sum()), int(np.isinf(array).sum())
        raise InputError(
            f"{n_nan} voxels are NaN and {n_inf} infinite, of {array.size}",
            place=path,
            expected="none",
            remedy="Export it again.",
        )
    if low == high:
        raise InputError(
            "empty: every voxel is 0" if low == 0 else f"constant: every voxel is {low:g}",
            place=path,
            expected="a scan with something in it",
            remedy="Export it again.",
        )
    return Volume(array, layout.affine)


def read_label_map(path: Path) -> Volume:
    """The label map in a file: (I, J, K) uint8 in the file's own numbers, whatever type it stores them in.

    Raises:
        InputError: the file cannot be read, or a voxel is not a whole number from 0 to 255.
    """
    layout, values = _load(path)
    with np.errstate(invalid="ignore"):
        label_map = values.astype(np.uint8, copy=False)
    n_strange = int((label_map != values).sum())
    if n_strange:
        raise InputError(
            f"{n_strange} voxels are not labels",
            place=path,
            expected="whole numbers from 0 to 255",
            remedy="Give a label map.",
        )
    return Volume(label_map, layout.affine)


def read_labels(path: Path, numbers: LabelSet) -> Volume:
    """The label map in a file as (I, J, K) uint8 of Label values.

    Args:
        numbers: label set that the file is written in.

    Raises:
        InputError: as `read_label_map`, or the file holds a number that the label set does not have.
    """
    volume = read_label_map(path)
    return Volume(decode(volume.array, numbers, where=str(path)), volume.affine)


def write_label_map(
    path: Path, label_map: np.ndarray, numbers: LabelSet, *, like: Path, affine: np.ndarray | None = None
) -> None:
    """Write a label map on the grid of the scan `like`; only geometry is taken from that scan's header.

    The file is read back and compared before it is renamed into place.

    Args:
        label_map: (I, J, K) uint8 of Label values.
        numbers: label set that the file is written in.
        like: scan of the case, usually the t1c.
        affine: (4, 4) affine that `like` had when it was read; None if it has not been read before.

    Raises:
        InputError: `like` cannot be read, or its grid has changed since it was read.
        OutputError: the file cannot be written, or reads back differently.
        ValueError: the shape is not that of `like`, the type is not uint8, or the label set has no number for a label.
    """
    _require_dtype(label_map, np.uint8)
    _write(path, encode(label_map, numbers), _header_like(like, np.uint8, _read_before(label_map, affine)))


def write_map(path: Path, array: np.ndarray, *, like: Path, affine: np.ndarray | None = None) -> None:
    """Write an (I, J, K) float32 map, such as probabilities, as `write_label_map` does."""
    _require_dtype(array, np.float32)
    _write(path, array, _header_like(like, np.float32, _read_before(array, affine)))


def write_case_file(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write an (I, J, K) array of any NIfTI type with the affine as sform and qform, both with code 1."""
    _write(path, array, header_of(array.shape, array.dtype, affine))


def write_empty_mask(path: Path, *, like: Iterable[Path]) -> bool:
    """Write an all-zero label map on the grid of the first scan with a usable one, else on BraTS's standard grid.

    A grid in another unit is treated as if it were in mm; a grid with more voxels than any case may have is skipped, as
    nobody could use such a mask.

    Returns:
        Whether the grid is that of a scan.
    """
    header = next(filter(None, map(_empty_mask_header, like)), None)
    is_known = header is not None
    if header is None:
        header = header_of(STANDARD_SHAPE, np.dtype(np.uint8), STANDARD_AFFINE)
        header["descrip"] = OWN_MARK
    _write(path, np.zeros(header.get_data_shape(), np.uint8, order="F"), header)
    return is_known


def is_own_map(path: Path) -> bool:
    """Whether the file is a mask or a map that a run wrote, by the mark in its header."""
    try:
        with open_packed(path) as stream:
            return read_geometry(stream, path).header["descrip"].item() == OWN_MARK
    except InputError:
        return False


def _load(path: Path, dtype: type | None = None, *, into: np.ndarray | None = None) -> tuple[Layout, np.ndarray]:
    """The layout and the (I, J, K) values, I fastest; of `dtype`, else of the stored type, or float32 if scaled."""
    with open_packed(path) as stream:
        layout = read_layout(stream, path)
        n_voxels = prod(layout.shape)
        if into is None:
            into = np.empty(layout.shape, dtype or (layout.dtype if layout.is_plain else np.float32), order="F")
        if into.shape != layout.shape:
            raise InputError(
                "changed while it was read",
                place=path,
                found=size_text(layout.shape),
                expected=f"{size_text(into.shape)} voxels as a moment before",
                remedy="Run again when nothing writes to it any more.",
            )
        assert into.flags.f_contiguous  # else the next line would fill a copy
        values = into.reshape(-1, order="F")
        n_done = 0
        for piece in pieces(stream, n_voxels * layout.dtype.itemsize):
            stored = piece[: piece.size - piece.size % layout.dtype.itemsize].view(layout.dtype)
            with np.errstate(over="ignore", invalid="ignore"):  # what is too large for float32 becomes infinite
                scaled = stored if layout.is_plain else stored.astype(np.float64) * layout.slope + layout.intercept
                values[n_done : n_done + stored.size] = scaled
            n_done += stored.size
    if n_done < n_voxels:
        raise InputError(
            "cut short", place=path, found=f"{n_done} of {n_voxels} voxels", remedy="Copy or download it again."
        )
    return layout, into


def _read_before(array: np.ndarray, affine: np.ndarray | None) -> Grid | None:
    """The grid of the scan that an (I, J, K) array was made from; None if the scan has not been read before."""
    if affine is None:
        return None
    i, j, k = array.shape
    return Grid((i, j, k), affine)


def _header_like(like: Path, dtype: type, before: Grid | None) -> Header:
    """A header for voxels of that type on the scan's grid; raises InputError if that is no longer the grid `before`."""
    with open_packed(like) as stream:
        layout = read_layout(stream, like)
    if before and not (layout.shape == before.shape and np.array_equal(layout.affine, before.affine)):
        raise InputError(
            f"changed after it was read: it {grid_difference(layout.grid(), before) or 'has another affine'}",
            place=like,
            remedy="Run again when nothing writes to it any more.",
        )
    return header_like(layout, dtype, like)


def _empty_mask_header(like: Path) -> Header | None:
    """A header for a mask on the scan's grid; None where that grid cannot be used."""
    try:
        with open_packed(like) as stream:
            layout = read_geometry(stream, like)
        return header_like(layout, np.uint8, like) if prod(layout.shape) <= MAX_VOXELS else None
    except InputError:
        return None  # `write_empty_mask` reports it by its return value


def _write(path: Path, array: np.ndarray, header: Header) -> None:
    """Write the array with that header, whose scaling and offset are filled in here."""
    if array.shape != header.get_data_shape():
        raise ValueError(f"{path}: shape {array.shape}, but the grid has {header.get_data_shape()}")
    values = np.asfortranarray(array, dtype=header.get_data_dtype())
    content = file_content(header, values)
    check = partial(_require_same, target=path, values=values, affine=header.get_best_affine())
    write_whole(path, pack(content) if path.name.lower().endswith(".gz") else content, check=check)


def _require_same(temporary: Path, *, target: Path, values: np.ndarray, affine: np.ndarray) -> None:
    """Raise OutputError unless the file just written holds these values on this grid."""
    try:
        layout, found = _load(temporary)
    except InputError as error:
        remedy = "It was written just now: check the disk or give another folder."
        raise OutputError(
            error.problem, place=target, found=error.found, expected=error.expected, remedy=remedy
        ) from error
    is_float = values.dtype.kind == "f"
    if not np.array_equal(found, values, equal_nan=is_float) or not np.array_equal(layout.affine, affine):
        raise OutputError(
            "what is read back is not what was written",
            place=target,
            remedy="Check the disk or give another folder.",
        )


def _require_dtype(array: np.ndarray, dtype: type) -> None:
    if array.dtype != dtype:
        raise ValueError(f"array of {array.dtype}, expected {np.dtype(dtype)}")
