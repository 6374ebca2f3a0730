"""Grids that cannot hold a head or need too much memory are refused, and doubtful ones are noted."""

import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from htcnns.errors import InputError
from htcnns.files.header_checks import require_head
from htcnns.files.nifti import STANDARD_AFFINE, STANDARD_SHAPE, read_grid
from htcnns.volume import Grid

SHAPE = (40, 41, 42)
TURN = nib.eulerangles.euler2mat(np.radians(3))  # 3 degrees about the third axis


def _spaced(*spacing_mm: float) -> np.ndarray:
    return np.diag([-spacing_mm[0], -spacing_mm[1], spacing_mm[2], 1.0])


def _sheared(degrees: float) -> np.ndarray:
    affine = _spaced(1, 1, 1)
    affine[0, 1] = np.tan(np.radians(degrees))
    return affine


@pytest.mark.parametrize(
    "grid",
    [
        Grid(STANDARD_SHAPE, STANDARD_AFFINE),
        Grid((182, 218, 182), _spaced(1, 1, 1)),
        Grid((512, 512, 200), _spaced(0.5, 0.5, 1)),
        Grid((320, 320, 24), _spaced(0.7, 0.7, 6.5)),
        Grid((360, 360, 360), _spaced(0.66, 0.66, 0.66)),
        Grid((256, 256, 1), _spaced(1, 1, 5)),
        Grid((34, 34, 33), _spaced(1, 1, 1)),
        Grid(STANDARD_SHAPE, _sheared(20)),
    ],
    ids=["BraTS", "post-treatment", "fine in plane", "thick", "fine", "one slice", "a test's head", "tilted gantry"],
)
def test_a_grid_that_may_hold_a_head_passes(grid: Grid) -> None:
    require_head(grid, "x")


@pytest.mark.parametrize(
    ("grid", "says"),
    [
        (
            Grid(STANDARD_SHAPE, _spaced(1e-3, 1e-3, 1e-3)),
            r"only 0\.24 x 0\.24 x 0\.155 mm in size; expected a head, 30",
        ),
        (Grid(STANDARD_SHAPE, _spaced(0.1, 0.1, 0.1)), r"only 24 x 24 x 15\.5 mm in size.*Fix the voxel size"),
        (Grid((8, 8, 8), _spaced(1, 1, 1)), r"only 8 x 8 x 8 mm in size"),
        (Grid((400, 400, 400), _spaced(0.6, 0.6, 0.6)), r"found 400 x .* and 240 x 240 x 240 at 1 mm, expected .* 67"),
        (Grid((330, 330, 330), _spaced(1, 1, 1)), r"found 330 x 330 x 330 as stored and 330 x 330 x 330 at 1 mm"),
        (
            Grid((40, 40, 40), _spaced(12, 12, 12)),
            r"found 40 x 40 x 40 as stored and 480 x 480 x 480 at 1 mm, expected .* 67",
        ),
        (
            Grid((512, 512, 320), _spaced(0.5, 0.5, 0.5)),
            r"found 512 x 512 x 320 as stored and 256 x 256 x 160 .*Crop the",
        ),
        (
            Grid(STANDARD_SHAPE, _sheared(30)),
            r"the affine is sheared: .* found 0\.87 of a right-angled voxel's volume, expected",
        ),
    ],
    ids=["metres", "a tenth", "tiny", "fine and large", "large", "coarse", "very fine", "sheared"],
)
def test_a_grid_that_holds_no_head_or_too_much_is_refused(grid: Grid, says: str) -> None:
    with pytest.raises(InputError, match=rf"^BraTS-X: .*{says}.*\.$"):
        require_head(grid, "BraTS-X")


def _saved(path: Path, sform: np.ndarray | None, qform: np.ndarray | None) -> Path:
    """A scan with this sform and qform; one that is None has code 0."""
    image = nib.Nifti1Image(np.zeros(SHAPE, np.int16), None)
    image.set_sform(sform, code=0 if sform is None else 2)
    image.set_qform(qform, code=0 if qform is None else 1)
    nib.save(image, path)
    return path


def _moved(affine: np.ndarray, *, by_mm: float = 0.0, turn: np.ndarray | None = None) -> np.ndarray:
    return nib.affines.from_matvec((np.eye(3) if turn is None else turn) @ affine[:3, :3], [by_mm, 0, 0])


@pytest.mark.parametrize(
    ("sform", "qform", "doubts"),
    [
        (_spaced(1, 1, 2), _spaced(1, 1, 2), ()),
        (_spaced(1, 1, 2), None, ()),
        (None, _spaced(1, 1, 2), ()),
        (_spaced(1, 1, 2), _moved(_spaced(1, 1, 2), by_mm=0.9), ()),
        (
            _spaced(1, 1, 2),
            _moved(_spaced(1, 1, 2), by_mm=1.5),
            ("sform and qform differ by up to 1.5 mm and 0.0 degrees; the sform is used",),
        ),
        (
            _spaced(1, 1, 1),
            _moved(_spaced(1, 1, 1), turn=TURN),
            ("sform and qform differ by up to 2.9 mm and 3.0 degrees; the sform is used",),
        ),
        (
            _spaced(1, 1, 1),
            np.eye(4),
            ("sform and qform differ by up to 111.7 mm and 180.0 degrees; the sform is used",),
        ),
        (None, None, ("the header has no orientation; the axes are taken to run to the left, to the front and up",)),
    ],
    ids=["same", "sform alone", "qform alone", "nearly", "moved", "turned", "mirrored", "neither"],
)
def test_forms_that_disagree_or_are_absent_leave_a_doubt(
    tmp_path: Path, sform: np.ndarray | None, qform: np.ndarray | None, doubts: tuple[str, ...]
) -> None:
    assert read_grid(_saved(tmp_path / "x.nii", sform, qform)).doubts == doubts


def test_without_codes_the_axes_run_left_front_and_up_as_reported(tmp_path: Path) -> None:
    assert nib.aff2axcodes(read_grid(_saved(tmp_path / "x.nii", None, None)).affine) == ("L", "A", "S")


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.floats(width=32), min_size=6, max_size=6), qfac=st.floats(width=32))
def test_any_qform_beside_an_sform_can_be_read(tmp_path: Path, values: list[float], qfac: float) -> None:
    content = bytearray(_saved(tmp_path / "x.nii", _spaced(1, 1, 1), _spaced(1, 1, 1)).read_bytes())
    struct.pack_into("<6f", content, 256, *values)
    struct.pack_into("<f", content, 76, qfac)
    (tmp_path / "x.nii").write_bytes(content)
    np.testing.assert_array_equal(read_grid(tmp_path / "x.nii").affine, _spaced(1, 1, 1))


@pytest.mark.parametrize(
    ("size", "doubt"),
    [(1e30, "sform and qform differ by up to"), (1e200, "the qform holds"), (float("nan"), "the qform holds")],
)
def test_a_qform_that_no_scanner_writes_is_reported_and_not_used(tmp_path: Path, size: float, doubt: str) -> None:
    """NIfTI-2 can hold numbers whose squares are infinite."""
    image = nib.Nifti2Image(np.ones((4, 4, 4), np.float32), _spaced(1, 1, 1))
    image.set_qform(_spaced(1, 1, 1), code=1)
    image.header["pixdim"][1] = size
    (tmp_path / "x.nii").write_bytes(image.header.binaryblock + bytes(4) + bytes(4 * 64))
    grid = read_grid(tmp_path / "x.nii")
    np.testing.assert_array_equal(grid.affine, _spaced(1, 1, 1))
    assert [each.startswith(doubt) for each in grid.doubts] == [True]
