"""NIfTI headers: reading and checking what a header promises about a file's voxels, and headers for our own files."""

import io
from dataclasses import dataclass
from logging import CRITICAL, Logger
from math import prod
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError, HeaderTypeError

from htcnns.errors import InputError
from htcnns.files.header_checks import doubts_on, in_millimetres, require_millimetres, require_usable
from htcnns.volume import Grid, Shape, grid_difference, size_text

Header = nib.Nifti1Header

MAX_BYTES = 2 * 2**30
OWN_MARK = b"htcnns"  # the description in masks and maps, which distinguishes them from the user's files

_KINDS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}  # by the header's length, which is its first number
_GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)
_SILENT = Logger("htcnns.files.nifti_header", CRITICAL + 1)  # nibabel would print each header field that it fixes


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a header promises, checked: how the voxels are stored in the file and where they lie in the world."""

    header: Header
    shape: Shape
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float
    affine: np.ndarray

    @property
    def is_plain(self) -> bool:
        """Whether the stored numbers are the values, without scaling."""
        return (self.slope, self.intercept) == (1, 0)

    def grid(self) -> Grid:
        """Shape, affine, and doubts about the affine."""
        is_coded = bool(self.header["sform_code"] > 0), bool(self.header["qform_code"] > 0)
        doubts = doubts_on(self.affine, self.shape, is_coded=is_coded, qform=_qform(self.header))
        return Grid(self.shape, self.affine, doubts)


def read_layout(stream: BinaryIO, path: Path) -> Layout:
    """The checked layout of a file; leaves the stream at the first voxel.

    Args:
        path: the stream's file, for the message.

    Raises:
        InputError: the header is not NIfTI, or describes a file that cannot be used.
    """
    layout = read_geometry(stream, path)
    require_millimetres(int(layout.header["xyzt_units"]), path)
    stream.seek(layout.offset)  # past the extensions, which may name a patient
    return layout


def read_geometry(stream: BinaryIO, path: Path) -> Layout:
    """The checked layout of a file whose unit need not be mm, such as a scan that an empty mask is made for."""
    block = stream.read(4)
    kind = _KINDS.get(int.from_bytes(block, "little")) or _KINDS.get(int.from_bytes(block, "big"))
    if kind is None:
        raise InputError(
            "not NIfTI", place=path, found=repr(block), expected="a NIfTI header's length", remedy="Convert it."
        )
    block += stream.read(kind.sizeof_hdr - 4)
    if len(block) < kind.sizeof_hdr:
        raise InputError(
            "cut short", place=path, found=f"{len(block)} of {kind.sizeof_hdr} header bytes", remedy="Copy it again."
        )
    try:
        with np.errstate(all="ignore"):
            header = kind(block, check=False)
            header.check_fix(logger=_SILENT)
            layout = _promises(header, path)
    except (HeaderDataError, HeaderTypeError, ValueError, OverflowError) as error:
        raise InputError(f"not a valid NIfTI header ({error})", place=path, remedy="Convert the scan again.") from error
    return layout


def header_like(layout: Layout, dtype: type, path: Path) -> Header:
    """A header for voxels of that type on the grid of a scan; only geometry is taken from the scan's header.

    A unit other than mm becomes mm.

    Args:
        path: the scan, for the message.

    Raises:
        InputError: the grid cannot be stored in NIfTI-1.
    """
    header = Header()
    header.set_data_dtype(dtype)
    header["descrip"] = OWN_MARK
    try:
        header.set_data_shape(layout.shape)
    except HeaderDataError as error:
        raise InputError(
            f"a grid that NIfTI-1 cannot hold ({error})", place=path, remedy="Crop the scan to the head."
        ) from error
    with np.errstate(all="ignore"):  # in NIfTI-2, an unused qform or sform may have nonsense too large for NIfTI-1
        for name in _GEOMETRY:
            header[name] = layout.header[name]
    header["xyzt_units"] = in_millimetres(int(layout.header["xyzt_units"]))
    with np.errstate(all="ignore"):
        held = read_layout(io.BytesIO(header.binaryblock), path)
        difference = grid_difference(Grid(held.shape, held.affine), Grid(layout.shape, layout.affine))
    if difference:
        raise InputError(
            f"a grid that NIfTI-1 cannot hold (the mask's {difference})", place=path, remedy="Convert it to NIfTI-1."
        )
    return header


def header_of(shape: tuple[int, ...], dtype: np.dtype, affine: np.ndarray) -> Header:
    """A header in mm for an array of that shape and type, with the affine as sform and qform, both with code 1."""
    header = Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_qform(affine, code=1)
    header.set_sform(affine, code=1)
    header.set_xyzt_units("mm")
    return header


def file_content(header: Header, values: np.ndarray) -> bytes:
    """The bytes of a single uncompressed file; sets the scaling and the voxel offset in the header.

    Args:
        values: (I, J, K) of the header's type, I fastest.
    """
    header.set_slope_inter(1, 0)
    header["vox_offset"] = header.single_vox_offset
    return b"".join((header.binaryblock, bytes(4), values.T.data))


def _promises(header: Header, path: Path) -> Layout:
    """The layout that a header describes; raises InputError where such a file cannot be used."""
    if header["magic"].item()[:3] in (b"ni1", b"ni2"):
        raise InputError(
            "half of a .hdr/.img pair", place=path, expected="one file", remedy="Convert the pair to .nii.gz."
        )
    dtype = header.get_data_dtype()
    if dtype.fields or dtype.kind not in "iuf":
        raise InputError(
            f"voxels are RGB or complex ({dtype})", place=path, expected="one real number each", remedy="Convert it."
        )
    shape = _three_axes(header.get_data_shape(), path)
    offset = max(int(header["vox_offset"]), header.single_vox_offset)
    n_bytes = offset + prod(shape) * max(dtype.itemsize, np.dtype(np.float32).itemsize)
    if n_bytes > MAX_BYTES:
        raise InputError(
            f"promises {size_text(shape)} voxels, {n_bytes / 2**30:.1f} GiB",
            place=path,
            expected=f"at most {MAX_BYTES / 2**30:.0f} GiB",
            remedy="Crop or resample it.",
        )
    affine = header.get_best_affine()
    slope, intercept = header.get_slope_inter()
    require_usable(affine, shape, path)
    if slope is None or intercept is None:
        slope, intercept = 1.0, 0.0
    return Layout(
        header=header, shape=shape, dtype=dtype, offset=offset, slope=slope, intercept=intercept, affine=affine
    )


def _three_axes(shape: tuple[int, ...], path: Path) -> Shape:
    """The shape without axes of length 1 after the third; raises InputError unless three axes are left."""
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise InputError(
            f"{len(shape)}-D, {size_text(shape)}",
            place=path,
            expected="I x J x K",
            remedy="Split it into single scans.",
        )
    if min(shape) < 1:
        raise InputError(
            f"empty, {size_text(shape)} voxels",
            place=path,
            expected="at least one on each axis",
            remedy="Export it again.",
        )
    return shape[0], shape[1], shape[2]


def _qform(header: Header) -> np.ndarray | None:
    """The affine of the qform; None where its code is 0 or its numbers are not a rotation."""
    try:
        with np.errstate(all="ignore"):
            return header.get_qform(coded=True)[0]
    except (HeaderDataError, ValueError):
        return None
