"""Whether a case counts as finished by the mask's grid, voxels and numbers, and by the files beside it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from htcnns.files.cases import Case, find_cases
from htcnns.files.finished import kept_notes
from htcnns.files.nifti import read_volume, write_case_file
from htcnns.files.outputs import CaseOutputs
from htcnns.labels import GLIOMA, LABEL_SETS, Region

CASE = "BraTS-GLI-00001-000"
SHAPE = (34, 34, 33)


@pytest.fixture
def case(tmp_path: Path, make_case: Callable[..., Path]) -> Case:
    return find_cases(make_case(tmp_path / "in", CASE))[0]


@pytest.fixture
def mask_of(tmp_path: Path, case: Case) -> Callable[..., CaseOutputs]:
    """Function that writes a mask with a voxel of each number, by default on the t1c's grid; returns the outputs."""

    def write(*numbers: int, shape: tuple[int, ...] = SHAPE, shift_mm: float = 0.0) -> CaseOutputs:
        array = np.zeros(shape, np.uint8)
        array.flat[: len(numbers)] = numbers
        path = tmp_path / f"{CASE}.nii.gz"
        write_case_file(path, array, read_volume(case.files["t1c"]).affine + shift_mm * np.eye(4, k=3))
        return _outputs(case, path)

    return write


def _notes(outputs: CaseOutputs, label_set: str = "brats2023", *, is_asked: bool = False) -> tuple[str, ...] | None:
    return kept_notes(replace(outputs, numbers=LABEL_SETS[label_set]), is_asked=is_asked, method="")


def _outputs(case: Case, mask: Path) -> CaseOutputs:
    numbers = LABEL_SETS["brats2023"]
    return CaseOutputs(case=case, numbers=numbers, regions=GLIOMA, mask=mask, maps={}, picture=None)


def test_a_mask_with_voxels_on_the_grid_of_the_t1c_is_finished(mask_of: Callable[..., CaseOutputs]) -> None:
    assert _notes(mask_of(1, 2, 3)) == ()


@pytest.mark.parametrize(
    ("numbers", "grid"),
    [
        ((), {}),
        ((1, 2, 3), {"shape": (34, 34, 32)}),
        ((1, 2, 3), {"shift_mm": 0.5}),
        ((1, 2, 200), {}),
    ],
    ids=["no voxel", "other shape", "half a mm off", "a number of no set"],
)
def test_an_empty_misplaced_or_unknown_mask_is_not_finished(
    mask_of: Callable[..., CaseOutputs], numbers: tuple[int, ...], grid: dict
) -> None:
    assert _notes(mask_of(*numbers, **grid)) is None


def test_a_folder_with_the_masks_name_is_not_finished(tmp_path: Path, case: Case) -> None:
    (tmp_path / f"{CASE}.nii.gz").mkdir()
    assert _notes(_outputs(case, tmp_path / f"{CASE}.nii.gz")) is None


def test_a_case_whose_t1c_cannot_be_read_is_not_finished(case: Case, mask_of: Callable[..., CaseOutputs]) -> None:
    outputs = mask_of(1, 2, 3)
    case.files["t1c"].write_bytes(b"broken")
    assert _notes(outputs) is None


def test_maps_and_pictures_that_are_asked_for_must_be_there(
    tmp_path: Path, case: Case, mask_of: Callable[..., CaseOutputs]
) -> None:
    mask = mask_of(1, 2, 3).mask
    outputs = replace(_outputs(case, mask), maps={Region.WT: tmp_path / "wt.nii.gz"}, picture=tmp_path / "picture.png")
    assert _notes(outputs) is None
    shutil.copy(mask, tmp_path / "wt.nii.gz")
    assert _notes(outputs) is None
    (tmp_path / "picture.png").write_bytes(b"PNG")
    assert _notes(outputs) == ()


@pytest.mark.parametrize("name", ["wt.nii.gz", "picture.png"])
def test_an_empty_file_beside_the_mask_is_not_finished(
    tmp_path: Path, case: Case, mask_of: Callable[..., CaseOutputs], name: str
) -> None:
    mask = mask_of(1, 2, 3).mask
    outputs = replace(_outputs(case, mask), maps={Region.WT: tmp_path / "wt.nii.gz"}, picture=tmp_path / "picture.png")
    shutil.copy(mask, tmp_path / "wt.nii.gz")
    (tmp_path / "picture.png").write_bytes(b"PNG")
    (tmp_path / name).write_bytes(b"")
    assert _notes(outputs) is None


@pytest.mark.parametrize(
    ("numbers", "label_set", "is_asked", "notes"),
    [
        ((1, 2, 3), "brats2021", True, None),
        ((1, 2, 4), "brats2023", True, None),
        ((1, 2, 3), "brats2023", True, ()),
        ((1, 2, 4), "brats2021", False, ()),
        (
            (1, 2, 4),
            "brats2023",
            False,
            ("its numbers [1, 2, 4] are not those of brats2023; name another label set",),
        ),
        (
            (1, 2, 4),
            "brats2024-ped",
            True,
            ("the file does not show whether its numbers [1, 2, 4] are meant as in brats2024-ped",),
        ),
    ],
    ids=["asked, other", "asked, other way round", "asked, same", "by name", "by name, other", "asked, doubtful"],
)
def test_numbers_decide_where_a_set_is_asked_for_and_are_noted_where_none_is(
    mask_of: Callable[..., CaseOutputs],
    numbers: tuple[int, ...],
    label_set: str,
    is_asked: bool,
    notes: tuple[str, ...] | None,
) -> None:
    assert _notes(mask_of(*numbers), label_set, is_asked=is_asked) == notes
