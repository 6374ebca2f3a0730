"""Checks of the grid in a header: unusable, not fit for a head, or doubtful."""

from math import prod
from pathlib import Path

import numpy as np

from htcnns.errors import InputError
from htcnns.volume import (
    Grid,
    Shape,
    angle_degrees,
    direction_cosines,
    grid_difference_mm,
    millimetre_shape,
    size_text,
    spacing_mm,
)

MAX_EXTENT_MM = 512.0  # a head coil's field is at most about 400 mm; a larger grid is in units other than mm
MIN_EXTENT_MM = 30.0  # no head is smaller; 240 mm in a header in cm or m read as 24 or 0.24
MAX_VOXELS = 2**26  # as stored plus at 1 mm, such as 322 cubed where stored at 1 mm; see `require_head`
LEAST_DETERMINANT = 0.9  # of the direction cosines: one pair of axes 26 degrees off a right angle
DOUBTFUL_DEGREES, DOUBTFUL_MM = 1.0, 1.0  # how far sform and qform may lie apart without a note

_UNITS = {1: "metres", 3: "micrometres"}  # NIfTI-1's xyzt_units, its lowest three bits; 2 is mm, 0 unknown


def require_usable(affine: np.ndarray, shape: Shape, path: Path) -> None:
    """Raise InputError where the affine is not finite, is singular, or makes the grid larger than any scanner's.

    The affine is checked in float32, as the mask's header will store it; a scan's header is at least as precise.
    """
    affine = _as_stored(affine)
    if not np.isfinite(affine).all():
        raise InputError(
            "its affine holds NaN or infinity", place=path, expected="numbers", remedy="Convert the scan again."
        )
    if abs(np.linalg.det(direction_cosines(affine))) < 1e-6:
        raise InputError(
            "its affine is singular",
            place=path,
            found=affine[:3, :3].tolist(),
            expected="three independent axes",
            remedy="Convert the scan again.",
        )
    extent = np.asarray(spacing_mm(affine)) * shape
    if extent.max() > MAX_EXTENT_MM:
        raise InputError(
            f"{size_text(f'{mm:.0f}' for mm in extent)} mm in size",
            place=path,
            expected=f"at most {MAX_EXTENT_MM:.0f} mm",
            remedy="Fix the voxel size in its header, which must be in mm.",
        )


def require_millimetres(xyzt_units: int, path: Path) -> None:
    """Raise InputError where the header names metres or micrometres as its unit instead of mm or none."""
    unit = _UNITS.get(xyzt_units & 7)
    if unit:
        raise InputError(
            f"its header is in {unit}",
            place=path,
            expected="mm",
            remedy="Convert the scan again, or set the unit of its header (xyzt_units) to mm if its affine is in mm "
            "already.",
        )


def in_millimetres(xyzt_units: int) -> int:
    """The same units with mm in place of metres or micrometres; mm, no unit and the unit of time are kept."""
    return xyzt_units & 0b111000 | (2 if xyzt_units & 7 in _UNITS else xyzt_units & 2)


def require_head(grid: Grid, name: str) -> None:
    """Raise InputError where the grid is too small or sheared for a head, or a case on it needs too much memory.

    Reading and preparing takes 58 bytes per voxel where scans are stored at 1 mm (our measurement), and one case is
    read ahead while another is worked on: at MAX_VOXELS the two need 3.6 GiB, and the rest of the run 0.3.

    Args:
        name: name of the case, for the message.
    """
    spacing = spacing_mm(grid.affine)
    extent = np.asarray(spacing) * grid.shape
    if extent.max() < MIN_EXTENT_MM:
        raise InputError(
            f"the scans are only {size_text(f'{mm:.3g}' for mm in extent)} mm in size",
            place=name,
            expected=f"a head, {MIN_EXTENT_MM:.0f} mm or more",
            remedy="Fix the voxel size in the headers, which must be in mm.",
        )
    filled = abs(np.linalg.det(direction_cosines(grid.affine)))
    if filled < LEAST_DETERMINANT:
        raise InputError(
            "the affine is sheared: the volume of a voxel is too small for the lengths of its edges",
            place=name,
            found=f"{filled:.2f} of a right-angled voxel's volume",
            expected=f"at least {LEAST_DETERMINANT}",
            remedy="Resample the scans onto a grid with right angles.",
        )
    at_1_mm = millimetre_shape(grid.shape, spacing)
    if prod(grid.shape) + prod(at_1_mm) > MAX_VOXELS:
        raise InputError(
            "the scans have too many voxels to fit in memory",
            place=name,
            found=f"{size_text(grid.shape)} as stored and {size_text(at_1_mm)} at 1 mm",
            expected=f"at most {MAX_VOXELS / 1e6:.0f} million for both together",
            remedy="Crop the scans to the head.",
        )


def doubts_on(
    affine: np.ndarray, shape: Shape, *, is_coded: tuple[bool, bool], qform: np.ndarray | None
) -> tuple[str, ...]:
    """Doubts about an affine, in words; empty where there are none.

    Args:
        is_coded: whether sform and qform each have a code.
        qform: affine of the qform; None where it has none.
    """
    if not any(is_coded):
        return ("the header has no orientation; the axes are taken to run to the left, to the front and up",)
    if not all(is_coded) or qform is None:
        return ()
    qform = _as_stored(qform)
    if not np.isfinite(qform).all():
        return ("the qform holds numbers that no scanner writes; the sform is used",)
    degrees, mm = angle_degrees(affine, qform), grid_difference_mm(affine, qform, shape)
    if degrees <= DOUBTFUL_DEGREES and mm <= DOUBTFUL_MM:
        return ()
    return (f"sform and qform differ by up to {mm:.1f} mm and {degrees:.1f} degrees; the sform is used",)


def _as_stored(affine: np.ndarray) -> np.ndarray:
    """The affine rounded to float32, infinite beyond its range, so that no square of a finite value overflows."""
    with np.errstate(over="ignore"):
        return affine.astype(np.float32).astype(float)
