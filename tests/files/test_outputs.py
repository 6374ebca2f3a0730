"""The files that a run writes: none has an impossible name, none overwrites a scan."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from htcnns.errors import InputError, SettingsError, TakenError
from htcnns.files.cases import Case
from htcnns.files.clashes import clashes, mask_clashes, require_no_scan
from htcnns.files.names.brats import Convention
from htcnns.files.nifti import write_empty_mask
from htcnns.files.outputs import (
    CaseOutputs,
    require_free_places,
    stand_in,
)
from htcnns.labels import GLIOMA, LABEL_SETS, Region, Sequence
from htcnns.reports.picture import png_bytes


def _case(folder: Path, name: str = "P7") -> Case:
    files = {Sequence.T1C: folder / "t1c.nii.gz", Sequence.T2F: folder / "flair.nii.gz"}
    truth = folder / "seg.nii.gz"
    return Case(name=name, files=files, naming=Convention.FREE, folder=folder, flat=False, truth=truth)


def _outputs(
    case: Case, mask: Path, maps: dict[Region, Path] | None = None, picture: Path | None = None
) -> CaseOutputs:
    numbers = LABEL_SETS["brats2023"]
    return CaseOutputs(case=case, numbers=numbers, regions=GLIOMA, mask=mask, maps=maps or {}, picture=picture)


@pytest.mark.parametrize("name", ["flair.nii.gz", "seg.nii.gz"])
@pytest.mark.parametrize("what", ["mask", "map", "picture", "report"])
def test_nothing_is_written_over_a_scan_or_a_truth(tmp_path: Path, name: str, what: str) -> None:
    paths = {key: tmp_path / f"other {key}" for key in ("mask", "map", "picture", "report")} | {what: tmp_path / name}
    outputs = _outputs(_case(tmp_path), paths["mask"], {Region.WT: paths["map"]}, paths["picture"])
    with pytest.raises(SettingsError, match=rf"{name}: is a scan or truth of P7, and .* Give another folder or name\."):
        require_no_scan([outputs], report=paths["report"])


def test_a_scan_of_another_case_is_safe_as_well(tmp_path: Path) -> None:
    other = _outputs(_case(tmp_path / "other", "flair"), tmp_path / "P7" / "flair.nii.gz")
    mine = _outputs(_case(tmp_path / "P7"), tmp_path / "P7.nii.gz")
    with pytest.raises(SettingsError, match=r"scan or truth of P7, and an output of flair would overwrite it"):
        require_no_scan([mine, other])


def test_a_scan_is_recognised_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("in")
    mine = _outputs(_case(tmp_path / "in"), tmp_path / "link" / "flair.nii.gz")
    with pytest.raises(SettingsError, match=r"link/flair\.nii\.gz: is a scan"):
        require_no_scan([mine])


def test_a_scan_that_is_a_link_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "flair.nii.gz").symlink_to("store.nii.gz")
    with pytest.raises(SettingsError, match=r"flair\.nii\.gz: is a scan"):
        require_no_scan([_outputs(_case(tmp_path), tmp_path / "flair.nii.gz")])


def test_new_files_beside_the_scans_are_allowed(tmp_path: Path) -> None:
    outputs = _outputs(_case(tmp_path), tmp_path / "P7.nii.gz", picture=tmp_path / "P7.png")
    require_no_scan([outputs], report=tmp_path / "report.json")


def test_a_file_name_has_at_most_255_bytes(tmp_path: Path) -> None:
    require_free_places(_outputs(_case(tmp_path), tmp_path / ("x" * 255)))
    with pytest.raises(InputError, match=r"P7: too long a name; found a file name of 256 bytes"):
        require_free_places(_outputs(_case(tmp_path), tmp_path / ("x" * 256)))


def test_a_map_whose_name_is_too_long_is_reported(tmp_path: Path) -> None:
    outputs = _outputs(_case(tmp_path), tmp_path / "mask", {Region.WT: tmp_path / ("\u811a" * 86)})
    require_free_places(_outputs(outputs.case, outputs.mask))
    with pytest.raises(InputError, match=r"P7: too long a name; found a file name of 258 bytes"):
        require_free_places(outputs)


def test_two_cases_writing_one_mask_both_clash(tmp_path: Path) -> None:
    mask = tmp_path / "00495.nii.gz"
    names = ("BraTS2021_00495", "00495")
    cases = [_outputs(_case(tmp_path, name), mask) for name in names]
    found = list(mask_clashes([*cases, _outputs(_case(tmp_path, "P7"), tmp_path / "P7.nii.gz")]))
    assert tuple(clash.case for clash in found) == names
    assert {str(clash.error).partition(".")[2] for clash in found} == {
        "nii.gz: two cases would write one mask; found BraTS2021_00495 and 00495, expected one case per mask. "
        "Put them into different input folders."
    }
    assert not list(mask_clashes(cases[:1]))


@pytest.mark.parametrize("what", ["mask", "map", "picture"])
def test_an_input_file_that_no_run_wrote_is_never_replaced(tmp_path: Path, what: str) -> None:
    paths = {key: tmp_path / f"{key}{end}" for key, end in (("mask", ".nii.gz"), ("map", ".nii"), ("picture", ".png"))}
    paths[what].write_bytes(b"mine")
    outputs = _outputs(_case(tmp_path), paths["mask"], {Region.WT: paths["map"]}, paths["picture"])
    require_free_places(outputs)  # in another folder such a file counts as a damaged one from an earlier run
    with pytest.raises(InputError, match=r"is a file of the input that no run wrote.*Move it away or give another"):
        require_free_places(replace(outputs, in_input=frozenset(outputs.paths)))


def test_a_mask_from_an_earlier_run_in_the_input_may_be_replaced(tmp_path: Path) -> None:
    outputs = _outputs(_case(tmp_path), tmp_path / "P7.nii.gz", picture=tmp_path / "P7.png")
    write_empty_mask(outputs.mask, like=[])
    outputs.picture.write_bytes(png_bytes(np.zeros((4, 4, 3), np.uint8)))
    require_free_places(replace(outputs, in_input=frozenset(outputs.paths)))


def test_a_folder_in_place_of_an_output_is_reported(tmp_path: Path) -> None:
    (tmp_path / "P7.nii.gz").mkdir()
    outputs = _outputs(_case(tmp_path), tmp_path / "P7.nii.gz")
    with pytest.raises(TakenError, match=r"cannot write P7\.nii\.gz \(Is a directory\)"):
        require_free_places(outputs)
    assert stand_in(outputs)[0] is False


@pytest.mark.parametrize("place", ["P7.png", "weights/manifest.json"])
def test_two_files_never_share_a_path(tmp_path: Path, place: str) -> None:
    outputs = _outputs(_case(tmp_path), tmp_path / "P7.nii.gz", picture=tmp_path / "P7.png")
    (tmp_path / "link").symlink_to(place)
    read = {tmp_path / "weights" / "manifest.json": "the manifest"}
    (clash,) = clashes([outputs], report=tmp_path / "link", read=read)
    assert re.match(r"report: .*link: is .*, and the report would overwrite it", str(clash.error))
    assert clash.case == ""
