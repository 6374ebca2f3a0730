"""NIfTI files in and out, geometry kept; the one place that knows their headers."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from logging import CRITICAL, Logger
from math import prod
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError, HeaderTypeError

from htcnns.errors import InputError, OutputError
from htcnns.files.geometry import Grid, doubts_on, require_millimetres, require_usable
from htcnns.files.packed import open_packed, pack, pieces
from htcnns.files.whole import write_whole
from htcnns.volume import Volume

MAX_BYTES = 2 * 2**30

STANDARD_SHAPE = (240, 240, 155)
STANDARD_AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])  # BraTS's own grid


def read_grid(path: Path) -> Grid:
    """Shape and affine by the header alone, checked as `read_volume` checks them, and what is doubtful about them."""
    layout = _read_layout(path)
    require_millimetres(int(layout.header["xyzt_units"]), path)
    is_coded = bool(layout.header["sform_code"] > 0), bool(layout.header["qform_code"] > 0)
    doubts = doubts_on(layout.affine, layout.shape, is_coded=is_coded, qform=_qform(layout.header))
    return Grid(layout.shape, layout.affine, doubts)


def read_volume(path: Path, *, into: np.ndarray | None = None) -> Volume:
    """The scan in a NIfTI-1 or -2 file, gzip or not: (I, J, K) float32 with slope and intercept applied.

    The array lies in memory as in the file, I fastest. The affine is the sform where its code is set, else the qform.

    Args:
        into: (I, J, K) float32, I fastest; is filled and becomes the volume's array. None makes a new one.

    Raises:
        InputError: the file cannot be read, is no three-dimensional scan, or is empty, constant, NaN or infinite.
    """
    layout, array = _load(path, np.float32, into=into)
    with np.errstate(invalid="ignore"):
        low, high = float(array.min()), float(array.max())
    if not np.isfinite([low, high]).all():
        n_nan, n_inf = int(np.isnan(array).sum()), int(np.isinf(array).sum())
        raise InputError(
            f"{path}: {n_nan} voxels are NaN and {n_inf} infinite, of {array.size}; expected none. Export it again."
        )
    if low == high:
        problem = "empty: every voxel is 0" if low == 0 else f"constant: every voxel is {low:g}"
        raise InputError(f"{path}: {problem}; expected a scan with something in it. Export it again.")
    return Volume(array, layout.affine)


def read_label_map(path: Path) -> Volume:
    """The label map in a file: (I, J, K) uint8 in the file's own numbers, whatever type they are stored as.

    Raises:
        InputError: the file cannot be read, or a voxel is no whole number from 0 to 255.
    """
    layout, values = _load(path)
    with np.errstate(invalid="ignore"):
        label_map = values.astype(np.uint8, copy=False)
    n_strange = int((label_map != values).sum())
    if n_strange:
        raise InputError(
            f"{path}: {n_strange} voxels are no labels; expected whole numbers from 0 to 255. Give a label map."
        )
    return Volume(label_map, layout.affine)


def write_label_map(path: Path, label_map: np.ndarray, *, like: Path, allowed: frozenset[int]) -> None:
    """Write a label map on the grid of the scan `like`; nothing but geometry is taken from that file's header.

    The file is read back and compared before it gets its name.

    Args:
        label_map: (I, J, K) uint8 in file numbers.
        like: usually the case's t1c.
        allowed: the file numbers that may occur; 0 always may.

    Raises:
        InputError: `like` cannot be read.
        OutputError: the file cannot be written, or reads back otherwise than it was written.
        ValueError: another shape than that of `like`, another type than uint8, or a number that is not allowed.
    """
    _require_dtype(label_map, np.uint8)
    _write(path, label_map, _header_like(_read_layout(like), np.uint8), allowed=allowed)


def write_map(path: Path, array: np.ndarray, *, like: Path) -> None:
    """Write an (I, J, K) float32 map, such as probabilities, in the way of `write_label_map`."""
    _require_dtype(array, np.float32)
    _write(path, array, _header_like(_read_layout(like), np.float32))


def write_case_file(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    """Write an (I, J, K) array of any NIfTI type with that affine as sform and qform, both with code 1."""
    _write(path, array, _header_of(array.shape, array.dtype, affine))


def write_empty_mask(path: Path, *, like: Path | None) -> bool:
    """Write a label map of zeros on the grid of `like`, or on BraTS's standard grid where that cannot be read.

    Returns:
        Whether the grid is that of `like`.
    """
    header = _header_of(STANDARD_SHAPE, np.dtype(np.uint8), STANDARD_AFFINE)
    known = False
    if like:
        try:
            header = _header_like(_read_layout(like), np.uint8)
            known = True
        except (InputError, nib.spatialimages.HeaderDataError):
            pass  # the caller hears of it by the answer
    _write(path, np.zeros(header.get_data_shape(), np.uint8, order="F"), header)
    return known


@dataclass(frozen=True)
class _Layout:
    """What a header promises, checked: how the voxels lie in the file and in the world."""

    header: nib.Nifti1Header
    shape: tuple[int, int, int]
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float
    affine: np.ndarray

    @property
    def is_plain(self) -> bool:
        return (self.slope, self.intercept) == (1, 0)


def _load(path: Path, dtype: type | None = None, *, into: np.ndarray | None = None) -> tuple[_Layout, np.ndarray]:
    """The layout and the (I, J, K) values, I fastest; of type `dtype`, else as stored, or float32 if scaled."""
    with open_packed(path) as stream:
        layout = _checked_layout(stream, path)
        require_millimetres(int(layout.header["xyzt_units"]), path)
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
        raise InputError(f"{path}: cut short; found {n_done} of {n_voxels} voxels. Copy or download it again.")
    return layout, into


def _read_layout(path: Path) -> _Layout:
    with open_packed(path) as stream:
        return _checked_layout(stream, path)


def _checked_layout(stream: BinaryIO, path: Path) -> _Layout:
    """The header's promises; the stream stands at the first voxel then."""
    block = stream.read(4)
    kind = _KINDS.get(int.from_bytes(block, "little")) or _KINDS.get(int.from_bytes(block, "big"))
    if kind is None:
        raise InputError(f"{path}: not NIfTI; found {block!r} where a header's length is expected. Convert it.")
    block += stream.read(kind.sizeof_hdr - 4)
    if len(block) < kind.sizeof_hdr:
        raise InputError(f"{path}: cut short; found {len(block)} of {kind.sizeof_hdr} header bytes. Copy it again.")
    try:
        with np.errstate(all="ignore"):
            header = kind(block, check=False)
            header.check_fix(logger=_SILENT)
            layout = _promises(header, path)
    except (HeaderDataError, HeaderTypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: not a valid NIfTI header; {error}. Convert the scan again.") from error
    stream.seek(layout.offset)  # past the extensions, which may name a patient
    return layout


def _promises(header: nib.Nifti1Header, path: Path) -> _Layout:
    if header["magic"].item()[:3] in (b"ni1", b"ni2"):
        raise InputError(f"{path}: half of a .hdr/.img pair; expected one file. Convert the pair to .nii.gz.")
    dtype = header.get_data_dtype()
    if dtype.fields or dtype.kind not in "iuf":
        raise InputError(f"{path}: voxels are RGB or complex ({dtype}); expected one real number each. Convert it.")
    shape = _three_axes(header.get_data_shape(), path)
    offset = max(int(header["vox_offset"]), header.single_vox_offset)
    n_bytes = offset + prod(shape) * max(dtype.itemsize, np.dtype(np.float32).itemsize)
    if n_bytes > MAX_BYTES:
        raise InputError(
            f"{path}: promises {_times(shape)} voxels, {n_bytes / 2**30:.1f} GiB; expected at most 2 GiB. "
            "Crop or resample it."
        )
    slope, intercept = header.get_slope_inter()
    affine = header.get_best_affine()
    require_usable(affine, shape, path)
    if slope is None or intercept is None:
        slope, intercept = 1.0, 0.0
    return _Layout(header, shape, dtype, offset, slope, intercept, affine)


def _three_axes(shape: tuple[int, ...], path: Path) -> tuple[int, int, int]:
    """The shape without axes of length 1 behind the third."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise InputError(f"{path}: {len(shape)}-D, {_times(shape)}; expected I x J x K. Split it into single scans.")
    if min(shape) < 1:
        raise InputError(f"{path}: empty, {_times(shape)} voxels; expected at least one on each axis. Export it again.")
    return shape[0], shape[1], shape[2]


def _qform(header: nib.Nifti1Header) -> np.ndarray | None:
    """The affine of the qform; None where its code is 0 or its numbers are no rotation."""
    try:
        with np.errstate(all="ignore"):
            return header.get_qform(coded=True)[0]
    except (HeaderDataError, ValueError):
        return None


def _header_like(layout: _Layout, dtype: type) -> nib.Nifti1Header:
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(layout.shape)
    with np.errstate(all="ignore"):  # NIfTI-2 may hold nonsense too large for NIfTI-1 in the form that is not used
        for name in _GEOMETRY:
            header[name] = layout.header[name]
    return header


def _header_of(shape: tuple[int, ...], dtype: np.dtype, affine: np.ndarray) -> nib.Nifti1Header:
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_qform(affine, code=1)
    header.set_sform(affine, code=1)
    header.set_xyzt_units("mm")
    return header


def _write(path: Path, array: np.ndarray, header: nib.Nifti1Header, *, allowed: frozenset[int] | None = None) -> None:
    """Write the array under that header, completed here; `allowed` None lets any number pass."""
    if array.shape != header.get_data_shape():
        raise ValueError(f"{path}: shape {array.shape}, but the grid has {header.get_data_shape()}")
    header.set_slope_inter(1, 0)
    header["vox_offset"] = header.single_vox_offset
    values = np.asfortranarray(array, dtype=header.get_data_dtype())
    content = b"".join((header.binaryblock, bytes(4), values.T.data))
    check = partial(_require_same, values=values, affine=header.get_best_affine(), allowed=allowed)
    write_whole(path, pack(content) if path.name.endswith(".gz") else content, check=check)


def _require_same(path: Path, *, values: np.ndarray, affine: np.ndarray, allowed: frozenset[int] | None) -> None:
    """Raise unless the file just written holds these values on this grid, and allowed numbers only."""
    try:
        layout, found = _load(path)
    except InputError as error:
        raise OutputError(f"{error} It was written just now: look after the disk or give another folder.") from error
    is_float = values.dtype.kind == "f"
    if not np.array_equal(found, values, equal_nan=is_float) or not np.array_equal(layout.affine, affine):
        raise OutputError(f"{path}: reads back otherwise than written. Look after the disk or give another folder.")
    if allowed is not None:
        strange = set(np.unique(found[found != 0]).tolist()) - allowed
        if strange:
            raise ValueError(f"{path}: holds the numbers {sorted(strange)}; allowed are {sorted(allowed)}")


def _require_dtype(array: np.ndarray, dtype: type) -> None:
    if array.dtype != dtype:
        raise ValueError(f"array of {array.dtype}, expected {np.dtype(dtype)}")


def _times(numbers: Iterable[object]) -> str:
    return " x ".join(map(str, numbers))


_KINDS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}  # by the header's length, its first number
_GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)
_SILENT = Logger("htcnns.files.nifti", CRITICAL + 1)  # nibabel would print each header field that it mends
