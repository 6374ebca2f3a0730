"""The files that a run writes: none of an impossible name, none over a scan."""

from pathlib import Path

import pytest

from htcnns.errors import InputError, SettingsError
from htcnns.files.cases import Case
from htcnns.labels import Region, Sequence
from htcnns.runs.targets import Targets, is_too_long, require_no_scan, require_possible_names


def _case(folder: Path, name: str = "P7") -> Case:
    files = {Sequence.T1C: folder / "t1c.nii.gz", Sequence.T2F: folder / "flair.nii.gz"}
    return Case(name, files, "free", folder, flat=False, truth=folder / "seg.nii.gz")


@pytest.mark.parametrize("name", ["flair.nii.gz", "seg.nii.gz"])
@pytest.mark.parametrize("what", ["mask", "map", "picture", "report"])
def test_nothing_is_written_over_a_scan_or_a_truth(tmp_path: Path, name: str, what: str) -> None:
    paths = dict.fromkeys(("mask", "map", "picture", "report"), tmp_path / "other") | {what: tmp_path / name}
    targets = Targets(_case(tmp_path), paths["mask"], {Region.WT: paths["map"]}, paths["picture"])
    with pytest.raises(SettingsError, match=rf"{name}: is a scan or truth of P7, and .* Give another folder or name\."):
        require_no_scan([targets], report=paths["report"])


def test_a_scan_of_another_case_is_safe_as_well(tmp_path: Path) -> None:
    other = Targets(_case(tmp_path / "other", "flair"), tmp_path / "P7" / "flair.nii.gz", {}, None)
    mine = Targets(_case(tmp_path / "P7"), tmp_path / "P7.nii.gz", {}, None)
    with pytest.raises(SettingsError, match=r"scan or truth of P7, and what flair gives would be written over it"):
        require_no_scan([mine, other])


def test_a_link_hides_no_scan(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("in")
    mine = Targets(_case(tmp_path / "in"), tmp_path / "link" / "flair.nii.gz", {}, None)
    with pytest.raises(SettingsError, match=r"link/flair\.nii\.gz: is a scan"):
        require_no_scan([mine])


def test_a_scan_that_is_a_link_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "flair.nii.gz").symlink_to("store.nii.gz")
    with pytest.raises(SettingsError, match=r"flair\.nii\.gz: is a scan"):
        require_no_scan([Targets(_case(tmp_path), tmp_path / "flair.nii.gz", {}, None)])


def test_new_files_beside_the_scans_are_allowed(tmp_path: Path) -> None:
    targets = Targets(_case(tmp_path), tmp_path / "P7.nii.gz", {}, tmp_path / "P7.png")
    require_no_scan([targets], report=tmp_path / "report.json")


@pytest.mark.parametrize(("length", "too_long"), [(255, False), (256, True)])
def test_a_name_has_255_bytes_at_most(tmp_path: Path, length: int, too_long: bool) -> None:
    assert is_too_long(tmp_path / ("x" * length)) == too_long


def test_a_map_whose_name_is_too_long_is_said(tmp_path: Path) -> None:
    targets = Targets(_case(tmp_path), tmp_path / "mask", {Region.WT: tmp_path / ("\u811a" * 86)}, None)
    require_possible_names(Targets(targets.case, targets.mask, {}, None))
    with pytest.raises(InputError, match=r"P7: too long a name; the file to be written has one of 258 bytes"):
        require_possible_names(targets)
