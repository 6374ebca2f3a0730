"""The shipped members on real cases: however a case is stored, its mask is the same."""

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from htcnns.files.manifest import read_manifest, shipped_weights
from htcnns.files.nifti import write_case_file
from htcnns.image.resample import resample
from htcnns.labels import GLIOMA, LABEL_SETS
from htcnns.reports.outcome import Outcome, State
from htcnns.runs.course import run
from htcnns.runs.plan import plan_run
from htcnns.runs.settings import RunSettings
from htcnns.runs.watcher import Watcher
from htcnns.scores.metrics import dice

pytestmark = [pytest.mark.slow]

CASES = ("BraTS-GLI-00000-000", "BraTS2021_00495", "Brats18_2013_2_1", "BraTS-GLI-00009-000", "BraTS2021_00630")
WAYS = {"RAS": CASES[:3], "LIA": CASES[2:], "oblique": (*CASES[3:], CASES[0])}  # every case in at least one of them
REPORTS = "reports"
Case = tuple[Path, Path]


@pytest.fixture(autouse=True, scope="module")
def _every_core() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def segment(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Outcome]]:
    """A function that segments a folder with the shipped members; few windows, as it is the geometry that counts."""

    def run_over(folder: Path, report: Path | None = None) -> list[Outcome]:
        out = tmp_path_factory.mktemp("masks")
        settings = RunSettings(overlap=0.25, report=report or out.with_suffix(".json"))
        return run(plan_run(folder, out, settings), watcher=Watcher(), on_outcome=bool)

    return run_over


@pytest.fixture(scope="module")
def originals(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, segment: Callable
) -> dict[str, Case]:
    """Folder and mask of real cases as they come, by name; their reports lie beside the folders."""
    data = request.config.getoption("--data")
    if data is None:
        pytest.skip("needs real cases: make test DATA=folder")
    folder = tmp_path_factory.mktemp("real")
    for name in CASES:
        (folder / name).symlink_to((data / "brats" / name).resolve(), target_is_directory=True)
    return {
        outcome.case: (folder / outcome.case, outcome.mask) for outcome in segment(folder, folder.with_name(REPORTS))
    }


@pytest.fixture(scope="module")
def variants(
    originals: dict[str, Case],
    tmp_path_factory: pytest.TempPathFactory,
    store_as: Callable[[Path, Path, str], Path],
    segment: Callable,
) -> dict[tuple[str, str], Path]:
    """Masks of the same cases stored in other ways, by way and name."""
    masks = {}
    for way, names in WAYS.items():
        folder = tmp_path_factory.mktemp(way)
        for name in names:
            store_as(originals[name][0], folder / name, way)
        masks |= {(way, outcome.case): outcome.mask for outcome in segment(folder)}
    return masks


def _t1c(case: Path) -> Path:
    (path,) = (path for path in case.iterdir() if path.name.endswith(("t1c.nii.gz", "t1ce.nii.gz")))
    return path


@pytest.mark.parametrize("name", CASES)
def test_the_mask_has_exactly_the_geometry_of_the_t1c(originals: dict[str, Case], name: str) -> None:
    case, mask = originals[name]
    found, like = nib.load(mask), nib.load(_t1c(case))
    assert found.shape == like.shape
    assert found.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(found.affine, like.affine)
    np.testing.assert_array_equal(found.get_qform(), like.get_qform())
    np.testing.assert_array_equal(found.get_sform(), like.get_sform())
    codes = [[int(image.header[code]) for code in ("qform_code", "sform_code")] for image in (found, like)]
    assert codes[0] == codes[1]


@pytest.mark.parametrize(("name", "numbers"), [(CASES[0], {1, 2, 3}), (CASES[1], {1, 2, 4}), (CASES[2], {1, 2, 4})])
def test_the_mask_holds_tumour_in_the_numbers_of_its_year(
    originals: dict[str, Case], name: str, numbers: set[int]
) -> None:
    found = set(np.unique(np.asarray(nib.load(originals[name][1]).dataobj)).tolist()) - {0}
    assert found
    assert found <= numbers


@pytest.mark.parametrize(("way", "name"), [(way, name) for way, names in WAYS.items() for name in names])
def test_however_a_case_is_stored_its_mask_is_identical(
    originals: dict[str, Case],
    variants: dict[tuple[str, str], Path],
    turn_to: Callable[[Path, Path], np.ndarray],
    way: str,
    name: str,
) -> None:
    mask = originals[name][1]
    np.testing.assert_array_equal(turn_to(variants[way, name], mask), np.asarray(nib.load(mask).dataobj))


@pytest.mark.parametrize("name", CASES)
def test_resampled_to_thick_slices_the_tumour_stays_where_it_was(
    originals: dict[str, Case], tmp_path: Path, segment: Callable, name: str
) -> None:
    """1 x 1 x 2 mm: the scans are averaged over two slices; the mask comes out on that grid and is resampled here."""
    case, mask = originals[name]
    _store_thick(case, tmp_path / name)
    (outcome,) = segment(tmp_path)
    original, thick = (np.asarray(nib.load(path).dataobj) > 0 for path in (mask, outcome.mask))
    assert thick.shape == (*original.shape[:2], -(-original.shape[2] // 2))
    back = resample(thick[None].astype(np.float32), (*original.shape[:2], 2 * thick.shape[2]))[0] >= 0.5
    assert dice(back[..., : original.shape[2]], original) >= 0.95


def test_the_table_of_all_cases_has_the_masks_volumes_to_the_voxel(originals: dict[str, Case]) -> None:
    folder = originals[CASES[0]][0].parent.with_name(REPORTS)
    with (folder / "cohort.csv").open(newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert sorted(rows) == sorted(CASES)
    for name, row in rows.items():
        mask = nib.load(originals[name][1])
        numbers = LABEL_SETS[row["label_set"]].numbers
        n_voxels = {label: int((np.asarray(mask.dataobj) == numbers[label]).sum()) for label in GLIOMA.labels}
        assert {label: int(row[f"{label.name}_voxels"]) for label in n_voxels} == n_voxels
        voxel_ml = abs(np.linalg.det(mask.affine[:3, :3])) / 1000
        for region in GLIOMA.regions:
            volume_ml = sum(n for label, n in n_voxels.items() if label in region.value) * voxel_ml
            assert abs(float(row[f"{region.name}_ml"]) - volume_ml) < voxel_ml / 2


def test_the_report_names_members_and_cases(variants: dict[tuple[str, str], Path]) -> None:
    report = json.loads(variants["RAS", CASES[0]].parent.with_suffix(".json").read_text())
    assert [member["name"] for member in report["members"]] == [
        member.name for member in read_manifest(shipped_weights())
    ]
    assert [(case["case"], case["state"]) for case in report["cases"]] == [
        (name, State.DONE) for name in sorted(WAYS["RAS"])
    ]


def _store_thick(case: Path, into: Path) -> None:
    """Store the scans with voxels twice as long along K, an odd last slice averaged with zeros."""
    into.mkdir()
    for path in sorted(path for path in case.glob("*.nii.gz") if "seg" not in path.name):
        image = nib.load(path)
        array = np.asarray(image.dataobj, np.float32)
        even = np.pad(array, ((0, 0), (0, 0), (0, array.shape[2] % 2)))
        affine = image.affine @ np.diag([1, 1, 2, 1])
        affine[:3, 3] += image.affine[:3, 2] / 2  # the middle of the first two slices
        write_case_file(into / path.name, (even[..., ::2] + even[..., 1::2]) / 2, affine)
