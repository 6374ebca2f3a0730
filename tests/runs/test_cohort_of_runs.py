"""The report of all cases in a folder of reports, whichever run did them."""

import csv
import json
import shutil
import threading
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import nibabel as nib
import numpy as np
import pytest

from htcnns.files.claims import Claims
from htcnns.files.nifti import read_label_map
from htcnns.reports.outcome import Outcome, State
from htcnns.reports.plain_text import from_csv_cell
from htcnns.runs import cohort
from htcnns.runs.cohort import gathered, write_cohort

SCHEMA = json.loads(files("htcnns.reports").joinpath("cohort.schema.json").read_text(encoding="utf-8"))
NAMES = ("BraTS-GLI-00001-000", "BraTS-GLI-00002-000", "P7")
FILES = ["cohort.csv", "cohort.json", "index.html"]
Segment = Callable[..., SimpleNamespace]


@pytest.fixture
def segment(tmp_path: Path, tiny_weights: Path, htcnns: Segment) -> Segment:
    """A function that segments `in` to `out` with one tiny member, with reports in `reports`."""

    def run(*flags: object, source: str = "in") -> SimpleNamespace:
        how = ("--weights", tiny_weights, "--members", "unet", "--device", "cpu", "--report", tmp_path / "reports")
        return htcnns("segment", tmp_path / source, tmp_path / "out", *how, *flags)

    return run


@pytest.fixture
def listed(tmp_path: Path) -> Callable[[], dict[str, dict]]:
    """A function that returns the entries of cohort.json by case, checked against its schema."""

    def read() -> dict[str, dict]:
        record = json.loads((tmp_path / "reports" / "cohort.json").read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(SCHEMA).validate(record)
        return {each["case"]: each for each in record["cases"]}

    return read


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "reports" / "cohort.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_volumes_in_the_table_match_the_masks_to_the_voxel(
    tmp_path: Path, make_case: Callable[..., Path], segment: Segment
) -> None:
    make_case(tmp_path / "in", NAMES[0], affine=np.diag([-0.9, -1.1, 1.0, 1.0]))
    make_case(tmp_path / "in", "BraTS2021_00495", naming="BraTS 2021-22", seed=2)
    said = segment()
    assert (said.code, said.out.splitlines()[-1]) == (
        0,
        f"what to look at first: {tmp_path / 'reports' / 'index.html'}",
    )
    for row, numbers, voxel_ml in zip(
        table(tmp_path), ({"NCR": 1, "ED": 2, "ET": 3}, {"NCR": 1, "ED": 2, "ET": 4}), (0.99e-3, 1e-3), strict=True
    ):
        mask = read_label_map(tmp_path / "out" / f"{row['case']}.nii.gz").array
        voxels = {name: int((mask == number).sum()) for name, number in numbers.items()}
        assert {name: int(row[f"{name}_voxels"]) for name in voxels} == voxels
        assert float(row["WT_ml"]) == round(sum(voxels.values()) * voxel_ml, 3) > 0
        assert float(row["TC_ml"]) == round((voxels["NCR"] + voxels["ET"]) * voxel_ml, 3)
        assert float(row["ET_ml"]) == round(voxels["ET"] * voxel_ml, 3)


@pytest.mark.slow
def test_every_case_in_the_folder_is_listed_whichever_run_did_it(
    tmp_path: Path, make_case: Callable[..., Path], segment: Segment, listed: Callable[[], dict]
) -> None:
    make_case(tmp_path / "in", NAMES[0])
    make_case(tmp_path / "others", NAMES[1])
    segment()
    assert set(listed()) == {NAMES[0]}
    segment(source="others")
    assert set(listed()) == {NAMES[0], NAMES[1]}
    before = [(tmp_path / "reports" / name).read_bytes() for name in FILES]
    segment()  # every case is kept
    assert [(tmp_path / "reports" / name).read_bytes() for name in FILES] == before


@pytest.mark.slow
def test_a_failure_stays_listed_until_its_case_is_done(
    tmp_path: Path, make_case: Callable[..., Path], segment: Segment, listed: Callable[[], dict]
) -> None:
    make_case(tmp_path / "in", NAMES[0])
    path = make_case(tmp_path / "in", NAMES[1]) / f"{NAMES[1]}-t2w.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    make_case(tmp_path / "others", NAMES[2], naming="free")
    assert segment().code == 7
    assert segment(source="others").code == 0
    states = {name: each["state"] for name, each in listed().items()}
    assert states == {NAMES[0]: "done", NAMES[1]: "failed", NAMES[2]: "done"}
    assert listed()[NAMES[1]]["error"].startswith(f"{NAMES[1]}: {path}: cut short")
    path.write_bytes(whole)
    segment()
    assert {each["state"] for each in listed().values()} == {"done"}


@pytest.mark.slow
def test_shards_into_one_folder_list_all_cases(
    tmp_path: Path, make_case: Callable[..., Path], segment: Segment, listed: Callable[[], dict]
) -> None:
    for name in NAMES:
        make_case(tmp_path / "in", name, naming="free")
    for shard in ("0/2", "1/2"):
        segment("--shard", shard)
    assert set(listed()) == set(NAMES)


@pytest.mark.slow
def test_hostile_names_reach_table_and_page_as_text(
    tmp_path: Path, make_case: Callable[..., Path], segment: Segment, listed: Callable[[], dict]
) -> None:
    names = ["<img src=x onerror=alert(1)>", '=1+1,"x"', "two\nlines", "@a'b"]
    for name in names:
        make_case(tmp_path / "made", "P", naming="free").rename(tmp_path / "made" / name)
    shutil.move(tmp_path / "made", tmp_path / "in")
    assert segment().code == 0
    assert set(listed()) == set(names)
    cells = [row["case"] for row in table(tmp_path)]
    assert sorted(map(from_csv_cell, cells)) == sorted(names)
    assert not any(cell.startswith(("=", "+", "-", "@")) or "\n" in cell for cell in cells)
    page = (tmp_path / "reports" / "index.html").read_text(encoding="utf-8")
    assert "<img" not in page
    assert "%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E" in page


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "name"),
    [("{}", "notes.json"), ("no JSON", "x.json"), ('{"report": "htcnns case", "format": 2, "case": "P7"}', "P7.json")],
)
def test_a_file_that_is_not_a_report_is_named_and_costs_no_case(
    tmp_path: Path,
    make_case: Callable[..., Path],
    segment: Segment,
    listed: Callable[[], dict],
    content: str,
    name: str,
) -> None:
    make_case(tmp_path / "in", NAMES[0])
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / name).write_text(content)
    segment()
    assert set(listed()) == {NAMES[0]}
    assert json.loads((tmp_path / "reports" / "cohort.json").read_text())["not_read"] == [name]


@pytest.mark.slow
def test_a_copy_of_a_report_under_another_name_is_not_a_second_case(
    tmp_path: Path, make_case: Callable[..., Path], segment: Segment
) -> None:
    make_case(tmp_path / "in", NAMES[0])
    segment()
    shutil.copy(tmp_path / "reports" / f"{NAMES[0]}.json", tmp_path / "reports" / "copy.json")
    cases, not_read = gathered(tmp_path / "reports", [])
    assert ([each.case for each in cases], not_read) == ([NAMES[0]], ("copy.json",))


@pytest.mark.slow
def test_what_a_run_knows_beyond_the_reports_is_listed(
    tmp_path: Path, make_case: Callable[..., Path], segment: Segment
) -> None:
    make_case(tmp_path / "in", NAMES[0])
    segment()
    outcomes = [
        Outcome(case=NAMES[0], state=State.FAILED, error="could not replace its report"),
        Outcome(case=NAMES[1], state=State.NOT_STARTED),
        Outcome(case=NAMES[2], state=State.DONE, volumes_ml={"WT": 1.0}, notes=("no report: no ink",)),
    ]
    found = {each.case: each for each in gathered(tmp_path / "reports", outcomes)[0]}
    assert [found[name].state for name in NAMES] == ["failed", "not started", "done"]
    assert (found[NAMES[0]].error, found[NAMES[2]].notes) == ("could not replace its report", ("no report: no ink",))
    kept = Outcome(case=NAMES[0], state=State.KEPT, notes=("changed by hand",))
    (again,) = gathered(tmp_path / "reports", [kept])[0]
    assert (again.state, again.notes[-1], again.n_lesions is None) == ("done", "changed by hand", False)


def test_a_run_waits_for_another_run_that_writes_the_list(tmp_path: Path) -> None:
    with Claims() as others:
        assert others.take(tmp_path / "cohort.json")
        writer = threading.Thread(target=write_cohort, args=(tmp_path, [Outcome(case="P7", state=State.NOT_STARTED)]))
        writer.start()
        writer.join(0.5)
        assert not (tmp_path / "cohort.json").exists()
    writer.join(30)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_a_claim_that_is_never_given_back_does_not_block_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort, "_PATIENCE_S", 0.3)
    with Claims() as others:
        others.take(tmp_path / "cohort.json")
        write_cohort(tmp_path, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


def test_a_case_named_like_the_cohort_report_is_refused(
    tmp_path: Path, make_case: Callable[..., Path], segment: Segment
) -> None:
    make_case(tmp_path / "in", "cohort", naming="free")
    said = segment()
    assert said.code == 2
    assert "cohort.json: is a part of the report of all cases, and an output of cohort would overwrite it" in said.err


def test_a_folder_in_the_place_of_the_page_is_refused_before_anything_is_done(
    tmp_path: Path, make_case: Callable[..., Path], segment: Segment
) -> None:
    make_case(tmp_path / "in", NAMES[0])
    (tmp_path / "reports" / "index.html").mkdir(parents=True)
    said = segment()
    assert (said.code, (tmp_path / "out").exists()) == (6, False)
    assert "index.html: is a folder" in said.err


@pytest.mark.parametrize("name", ["index.html", "cohort.json", "cohort.csv", f"{NAMES[0]}.json", f"{NAMES[0]}.png"])
def test_a_file_that_no_run_wrote_is_not_replaced_by_a_report(
    name: str, tmp_path: Path, make_case: Callable[..., Path], segment: Segment
) -> None:
    make_case(tmp_path / "in", NAMES[0])
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / name).write_text('{"EchoTime": 0.1}')
    said = segment()
    assert (said.code, (tmp_path / "out").exists()) == (2 if name.startswith(NAMES[0]) else 6, False)
    assert f"{name}: is not from a run, and would be replaced" in said.err
    assert (tmp_path / "reports" / name).read_text() == '{"EchoTime": 0.1}'


def test_a_mask_corrected_by_hand_that_keeps_its_header_is_replaced_only_with_again(
    tmp_path: Path, make_case: Callable[..., Path], segment: Segment
) -> None:
    make_case(tmp_path / "in", NAMES[0])
    assert segment().code == 0
    mask = tmp_path / "out" / f"{NAMES[0]}.nii.gz"
    image = nib.load(mask)
    corrected = np.asarray(image.dataobj).copy()
    corrected[0, 0, 0] = 1
    nib.save(nib.Nifti1Image(corrected, image.affine, image.header), mask)
    content = mask.read_bytes()
    for _ in range(3):  # a failure also leaves a report
        said = segment("--fusion", "majority")
        assert (said.code, mask.read_bytes()) == (7, content)
        assert "found contents that do not match its report" in said.out
    assert segment("--fusion", "majority", "--again").code == 0
    assert mask.read_bytes() != content


def test_a_case_that_may_fail_alone_leaves_the_file_in_its_reports_place(
    tmp_path: Path, make_case: Callable[..., Path], segment: Segment
) -> None:
    for name in NAMES[:2]:
        make_case(tmp_path / "in", name)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / f"{NAMES[0]}.json").write_text("[1]")
    said = segment("--on-unclear", "fail")
    assert (said.code, (tmp_path / "reports" / f"{NAMES[0]}.json").read_text()) == (7, "[1]")
    assert (tmp_path / "out" / f"{NAMES[1]}.nii.gz").exists()
