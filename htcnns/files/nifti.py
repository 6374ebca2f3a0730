"""Scans, label maps and masks as NIfTI files, in and out, geometry kept."""

from functools import partial
from math import prod
from pathlib import Path

import numpy as np

from htcnns.errors import InputError, OutputError
from htcnns.files.atomic import write_whole
from htcnns.files.gzip_stream import open_packed, pack, pieces
from htcnns.files.header_checks import MAX_VOXELS
from htcnns.files.nifti_header import Header, Layout, file_content, header_like, header_of, read_layout
from htcnns.labels import LabelSet, decode, encode
from htcnns.volume import Grid, Volume

STANDARD_SHAPE = (240, 240, 155)
STANDARD_AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])  # BraTS's own grid
STANDARD_AFFINE.setflags(write=False)


def read_grid(path: Path) -> Grid:
    """Shape and affine by the header alone, checked as `read_volume` checks them, and what is doubtful about them."""
    with open_packed(path) as stream:
        return read_layout(stream, path).grid()


def read_volume(path: Path, *, into: np.ndarray | None = None) -> Volume:
    """The scan in a NIfTI-1 or -2 file, gzip or not: (I, J, K) float32 with slope and intercept applied.

    The array lies in memory as in the file, I fastest. The affine is the sform where its code is set, else the qform.

    Args:
        into: (I, J, K) float32, I fastest, to be filled and to become the volume's array; None makes a new one.

    Raises:
        InputError: the file cannot be read, is no three-dimensional scan, or is empty, constant, NaN or infinite.
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
    """The label map in a file: (I, J, K) uint8 in the file's own numbers, of whatever type they are stored.

    Raises:
        InputError: the file cannot be read, or a voxel is no whole number from 0 to 255.
    """
    layout, values = _load(path)
    with np.errstate(invalid="ignore"):
        label_map = values.astype(np.uint8, copy=False)
    n_strange = int((label_map != values).sum())
    if n_strange:
        raise InputError(
            f"{n_strange} voxels are no labels",
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


def write_label_map(path: Path, label_map: np.ndarray, numbers: LabelSet, *, like: Path) -> None:
    """Write a label map on the grid of the scan `like`; nothing but geometry is taken from that file's header.

    The file is read back and compared before it gets its name.

    Args:
        label_map: (I, J, K) uint8 of Label values.
        numbers: label set that the file is written in.
        like: scan of the case, usually the t1c.

    Raises:
        InputError: `like` cannot be read.
        OutputError: the file cannot be written, or what is read back is not what was written.
        ValueError: another shape than that of `like`, another type than uint8, or a label without a number.
    """
    _require_dtype(label_map, np.uint8)
    _write(path, encode(label_map, numbers), _header_like(like, np.uint8))


def write_map(path: Path, array: np.ndarray, *, like: Path) -> None:
    """Write an (I, J, K) float32 map, such as probabilities, in the way of `write_label_map`."""
    _require_dtype(array, np.float32)
    _write(path, array, _header_like(like, np.float32))


def write_case_file(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write an (I, J, K) array of any NIfTI type with that affine as sform and qform, both with code 1."""
    _write(path, array, header_of(array.shape, array.dtype, affine))


def write_empty_mask(path: Path, *, like: Path | None) -> bool:
    """Write a label map of zeros on the grid of `like`, or on BraTS's where that cannot be read or is too large.

    Returns:
        Whether the grid is that of `like`.
    """
    header = header_of(STANDARD_SHAPE, np.dtype(np.uint8), STANDARD_AFFINE)
    is_known = False
    if like:
        try:
            found = _header_like(like, np.uint8)
            if prod(found.get_data_shape()) <= MAX_VOXELS:  # else a few bytes would ask for gigabytes
                header, is_known = found, True
        except InputError:
            pass  # the caller hears of it by the answer
    _write(path, np.zeros(header.get_data_shape(), np.uint8, order="F"), header)
    return is_known


def _load(path: Path, dtype: type | None = None, *, into: np.ndarray | None = None) -> tuple[Layout, np.ndarray]:
    """The layout and the (I, J, K) values, I fastest; of type `dtype`, else as stored, or float32 if scaled."""
    with open_packed(path) as stream:
        layout = read_layout(stream, path)
        n_voxels = prod(layout.shape)
        if into is None:
            into = np.empty(layout.shape, dtype or (layout.dtype if layout.is_plain else np.float32), order="F")
        assert into.shape == layout.shape
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


def _header_like(like: Path, dtype: type) -> Header:
    """A header for voxels of that type on the grid of the scan."""
    with open_packed(like) as stream:
        layout = read_layout(stream, like)
    return header_like(layout, dtype, like)


def _write(path: Path, array: np.ndarray, header: Header) -> None:
    """Write the array under that header, which is completed here."""
    if array.shape != header.get_data_shape():
        raise ValueError(f"{path}: shape {array.shape}, but the grid has {header.get_data_shape()}")
    values = np.asfortranarray(array, dtype=header.get_data_dtype())
    content = file_content(header, values)
    check = partial(_require_same, target=path, values=values, affine=header.get_best_affine())
    write_whole(path, pack(content) if path.name.endswith(".gz") else content, check=check)


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
