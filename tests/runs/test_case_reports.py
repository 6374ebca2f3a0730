"""Reports of cases: what is measured on a mask, and what a run leaves in the folder of reports."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from PIL import Image
from torch import nn

from htcnns.errors import SettingsError
from htcnns.files.cases import find_cases
from htcnns.files.nifti import read_label_map, read_volume, write_case_file
from htcnns.image.lesion_shape import Side, largest_lesion
from htcnns.image.phantom import make_phantom
from htcnns.labels import GLIOMA, Label, Region
from htcnns.reports.outcome import Outcome, State
from htcnns.runs import case_reports, pipeline
from htcnns.runs.batch import segment_on
from htcnns.runs.case_reports import measure, middle_x_mm
from htcnns.runs.ensemble import Ensemble
from htcnns.runs.pipeline import prepare_case
from htcnns.runs.plan import RunPlan, outputs_of, plan_run
from htcnns.runs.resources import Resources
from htcnns.runs.settings import RunSettings
from htcnns.runs.watcher import Watcher

CASE, OTHER = "BraTS-GLI-00001-000", "P7"
HOSTILE = "P<b>\n&8"
SCHEMA = json.loads(files("htcnns.reports").joinpath("case_report.schema.json").read_text(encoding="utf-8"))
Run = Callable[..., list[Outcome]]


@pytest.fixture
def ensemble(ensemble_of: Callable[..., Ensemble], pointwise: Callable[..., nn.Module]) -> Ensemble:
    """Two members, the second of which finds no enhancing tumour."""
    return ensemble_of([pointwise()], [pointwise(bias=(-4.0, -4.0, -99.0))])


@pytest.fixture
def run(tmp_path: Path, ensemble: Ensemble) -> Run:
    """A function that segments `in` to `out` with reports in `reports`."""
    for name in ("out", "reports"):
        (tmp_path / name).mkdir()

    def run(**settings: object) -> list[Outcome]:
        how = RunSettings(**({"report": tmp_path / "reports"} | settings))
        cases = [outputs_of(case, tmp_path / "out", how, GLIOMA) for case in find_cases(tmp_path / "in")]
        return list(segment_on(Resources(ensemble, how), cases, watcher=Watcher()))

    return run


@pytest.fixture
def report_of(tmp_path: Path) -> Callable[[str], dict]:
    """A function that reads a case's report and checks it against the schema."""

    def read(case: str) -> dict:
        record = json.loads((tmp_path / "reports" / f"{case}.json").read_text(encoding="utf-8"))
        jsonschema.Draft202012Validator(SCHEMA).validate(record)
        return record

    return read


def test_a_report_and_a_picture_lie_in_the_folder_and_nothing_else(
    tmp_path: Path, make_case: Callable[..., Path], run: Run
) -> None:
    make_case(tmp_path / "in", CASE)
    run()
    assert sorted(path.name for path in (tmp_path / "reports").iterdir()) == [f"{CASE}.json", f"{CASE}.png"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{CASE}.nii.gz"]
    with Image.open(tmp_path / "reports" / f"{CASE}.png") as image:
        assert image.width > image.height


def test_volumes_and_voxels_match_the_mask(
    tmp_path: Path, make_case: Callable[..., Path], run: Run, report_of: Callable[[str], dict]
) -> None:
    make_case(tmp_path / "in", CASE, affine=np.diag([-0.9, -1.1, 1.3, 1.0]))
    run()
    report = report_of(CASE)
    mask = read_label_map(tmp_path / "out" / f"{CASE}.nii.gz").array
    counts = {name: int((mask == number).sum()) for name, number in report["labels"].items()}
    assert report["label_voxels"] == {name: n for name, n in counts.items() if n}
    voxel = 0.9 * 1.1 * 1.3 / 1000
    assert report["label_volumes_ml"] == {name: pytest.approx(n * voxel, abs=6e-4) for name, n in counts.items()}
    assert report["volumes_ml"]["WT"] == pytest.approx(sum(counts.values()) * voxel, abs=6e-4)
    assert sum(report["lesions"]["WT"]["volumes_ml"]) == pytest.approx(report["volumes_ml"]["WT"], abs=0.02)
    assert report["geometry"]["shape"] == list(mask.shape)
    assert report["geometry"]["is_resampled"]


def test_members_have_their_dice_and_sensitivity(
    tmp_path: Path, make_case: Callable[..., Path], run: Run, report_of: Callable[[str], dict]
) -> None:
    make_case(tmp_path / "in", CASE)
    run()
    first, second = report_of(CASE)["members"]
    assert first["dice"]["WT"] == second["dice"]["WT"] == 1.0
    assert second["dice"]["ET"] == report_of(CASE)["least_dice"] == 0.0
    assert first["sensitivity"]["WT"] == 1.0


def test_a_report_has_the_seconds_of_every_step(
    tmp_path: Path, make_case: Callable[..., Path], run: Run, report_of: Callable[[str], dict]
) -> None:
    make_case(tmp_path / "in", CASE)
    run()
    report = report_of(CASE)
    steps = ["read", "prepare", "networks", "clean up", "fuse", "undo", "write"]
    assert list(report["seconds"]["steps"]) == steps
    assert report["peak_memory_mib"]["process"] > 50


def test_the_disagreement_lies_on_the_masks_grid(tmp_path: Path, make_case: Callable[..., Path], run: Run) -> None:
    make_case(tmp_path / "in", CASE)
    run(disagreement=True)
    share = read_volume(tmp_path / "reports" / f"{CASE}-disagreement.nii.gz")
    mask = read_label_map(tmp_path / "out" / f"{CASE}.nii.gz")
    np.testing.assert_array_equal(share.affine, mask.affine)
    assert set(np.unique(share.array)) == {0.0, 0.5}
    assert (share.array[mask.array == 3] == 0.5).all()


def test_a_failed_case_has_a_report_too(
    tmp_path: Path, make_case: Callable[..., Path], run: Run, report_of: Callable[[str], dict]
) -> None:
    (make_case(tmp_path / "in", CASE) / f"{CASE}-t2w.nii.gz").write_bytes(b"broken")
    make_case(tmp_path / "in", OTHER, naming="free")
    outcomes = run(on_failure="empty")
    assert [outcome.state for outcome in outcomes] == [State.FAILED, State.DONE]
    report = report_of(CASE)
    assert (report["state"], report["error"]) == ("failed", outcomes[0].error)
    assert report["trace"][0].startswith("Traceback")
    assert report["notes"] == ["an empty mask was written in its place"]
    assert not (tmp_path / "reports" / f"{CASE}.png").exists()


def test_a_report_of_a_failure_does_not_make_a_case_finished(
    tmp_path: Path, make_case: Callable[..., Path], run: Run
) -> None:
    folder = make_case(tmp_path / "in", CASE)
    assert [run()[0].state for _ in range(2)] == [State.DONE, State.KEPT]
    path = tmp_path / "reports" / f"{CASE}.json"
    path.write_text(json.dumps({"report": "htcnns case", "state": "failed"}))
    assert run()[0].state is State.DONE
    path.unlink()
    assert run()[0].state is State.DONE
    assert folder.is_dir()


def test_a_hostile_name_is_escaped_in_the_report(tmp_path: Path, make_case: Callable[..., Path], run: Run) -> None:
    make_case(tmp_path / "in", "P", naming="free").rename(tmp_path / "in" / HOSTILE)
    (outcome,) = run()
    text = (tmp_path / "reports" / f"{HOSTILE}.json").read_text()
    assert outcome.state is State.DONE
    assert not {"<", ">", "&"} & set(text)
    assert (json.loads(text)["case"], json.loads(text)["title"]) == (HOSTILE, "P<b>\\n&8")


def test_a_report_that_cannot_be_made_does_not_fail_its_case(
    tmp_path: Path, make_case: Callable[..., Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no ink")

    make_case(tmp_path / "in", CASE)
    monkeypatch.setattr(case_reports, "case_picture", fail)
    (outcome,) = run()
    assert (outcome.state, outcome.notes[-1]) == (State.DONE, f"no report: {CASE}: RuntimeError: no ink")
    assert (tmp_path / "out" / f"{CASE}.nii.gz").is_file()


def test_a_folder_in_a_reports_place_costs_only_that_report(
    tmp_path: Path, make_case: Callable[..., Path], run: Run
) -> None:
    for name in (CASE, OTHER):
        make_case(tmp_path / "in", name, naming="free")
    (tmp_path / "reports" / f"{OTHER}.json").mkdir()
    outcomes = {outcome.case: outcome for outcome in run()}
    assert {name: outcome.state for name, outcome in outcomes.items()} == {CASE: State.DONE, OTHER: State.DONE}
    assert outcomes[OTHER].notes[-1].startswith(f"no report: {OTHER}: ")
    assert "Move it away" in outcomes[OTHER].notes[-1]
    assert (tmp_path / "out" / f"{OTHER}.nii.gz").is_file()
    assert not any(note.startswith("no report") for note in outcomes[CASE].notes)


def test_no_report_of_an_earlier_run_stands_beside_a_newer_mask(
    tmp_path: Path, make_case: Callable[..., Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no ink")

    make_case(tmp_path / "in", CASE)
    run(disagreement=True)
    with monkeypatch.context() as patch:
        patch.setattr(case_reports, "case_picture", fail)
        run(again=True, fusion="majority")
    assert not (tmp_path / "reports" / f"{CASE}.json").exists()
    assert [outcome.state for outcome in run(fusion="majority")] == [State.DONE]


def test_a_failure_leaves_no_picture_of_an_earlier_run(
    tmp_path: Path, make_case: Callable[..., Path], run: Run, report_of: Callable[[str], dict]
) -> None:
    folder = make_case(tmp_path / "in", CASE)
    run(disagreement=True)
    path = folder / f"{CASE}-t2w.nii.gz"
    path.write_bytes(path.read_bytes()[:1000])
    run(disagreement=True, again=True)
    assert [path.name for path in (tmp_path / "reports").iterdir()] == [f"{CASE}.json"]
    assert report_of(CASE)["state"] == "failed"


def test_the_measures_of_a_phantom_match_what_is_known_of_it() -> None:
    phantom = make_phantom((64, 76, 58), seed=7, spacing_mm=(2.5, 2.5, 2.5))
    found = measure(phantom.truth, phantom.affine, regions=(), middle_x_mm=-2.5 * 32)
    assert sum(found.lesions_ml[Region.ET]) == pytest.approx(phantom.volumes_ml[Region.ET])
    lesion = np.argwhere(largest_lesion(phantom.truth > 0)).mean(axis=0)
    x_mm = (phantom.affine @ [*lesion, 1])[0]
    assert found.side is (Side.LEFT if x_mm < -2.5 * 32 else Side.RIGHT)  # world x runs to the right
    assert found.label_voxels == {
        label.name: int((phantom.truth == label).sum()) for label in (Label.NCR, Label.ED, Label.ET)
    }
    assert found.axial is not None
    assert found.largest is not None
    assert found.largest.length_mm >= found.axial.longest.length_mm >= found.axial.perpendicular.length_mm


def test_lesions_of_every_region_that_members_predict_are_measured() -> None:
    label_map = np.zeros((9, 9, 9), np.uint8)
    label_map[1:3, 1:3, 1:3] = Label.NCR
    label_map[5:8, 5:8, 5:8] = Label.ED
    found = measure(label_map, np.eye(4), regions=(Region.NET, Region.ED), middle_x_mm=0.0)
    assert {region.name: volumes for region, volumes in found.lesions_ml.items()} == {
        "WT": (0.027, 0.008),
        "TC": (0.008,),
        "ET": (),
        "NET": (0.008,),
        "ED": (0.027,),
    }


def test_an_empty_mask_is_measured() -> None:
    found = measure(np.zeros((5, 5, 5), np.uint8), np.eye(4), regions=(), middle_x_mm=0.0)
    assert (found.side, found.axial, found.largest, found.lesions_ml[Region.WT]) == (None, None, None, ())


@pytest.mark.parametrize("way", ["LPS", "RAS", "SPL", "oblique"])
def test_the_brains_middle_is_the_same_however_it_is_stored(
    tmp_path: Path, make_case: Callable[..., Path], store_as: Callable[..., Path], ensemble: Ensemble, way: str
) -> None:
    case = make_case(tmp_path / "in", OTHER, naming="free", affine=np.diag([-2.0, -1.0, 1.0, 1.0]))
    found = []
    for folder in (case, store_as(case, tmp_path / "other" / OTHER, way)):
        ready = prepare_case(find_cases(folder)[0], ensemble)
        tilt = ready.affine @ np.linalg.inv(np.diag([-2.0, -1.0, 1.0, 1.0])) if way == "oblique" else np.eye(4)
        found.append((middle_x_mm(ready), tilt))
    brain = read_volume(next(case.glob("*t1n*"))).array > 0
    middle = np.diag([-2.0, -1.0, 1.0, 1.0]) @ [*np.argwhere(brain).mean(axis=0), 1]
    assert found[0][0] == pytest.approx(middle[0], abs=1.0)
    assert found[1][0] == pytest.approx((found[1][1] @ middle)[0], abs=1.0)


@pytest.fixture
def plan_of(tmp_path: Path, tiny_weights: Path, make_case: Callable[..., Path]) -> Callable[..., RunPlan]:
    make_case(tmp_path / "in", CASE)

    def make(**settings: object) -> RunPlan:
        return plan_run(tmp_path / "in", tmp_path / "out", RunSettings(weights=tiny_weights, device="cpu", **settings))

    return make


@pytest.mark.parametrize("place", ["in", "in/reports", "out", "out/reports"])
def test_reports_go_neither_into_the_input_nor_into_the_output(
    tmp_path: Path, plan_of: Callable[..., RunPlan], place: str
) -> None:
    with pytest.raises(SettingsError, match=r"^report: .* lies in the (input|output folder)"):
        plan_of(report=tmp_path / place)


def test_a_name_that_ends_in_json_is_a_file_and_any_other_a_folder(
    tmp_path: Path, plan_of: Callable[..., RunPlan]
) -> None:
    (of_run,) = plan_of(report=tmp_path / "reports.JSON").cases
    (of_cases,) = plan_of(report=tmp_path / "reports").cases
    assert (of_run.report, (tmp_path / "reports.JSON").exists()) == (None, False)
    assert of_cases.report is not None
    assert of_cases.report.record == tmp_path / "reports" / f"{CASE}.json"
    assert (tmp_path / "reports").is_dir()


def test_reports_and_previews_in_one_folder_are_refused(tmp_path: Path, plan_of: Callable[..., RunPlan]) -> None:
    with pytest.raises(SettingsError, match=rf"{CASE}\.png: is an output of {CASE}, and an output of"):
        plan_of(report=tmp_path / "reports", previews=tmp_path / "reports")


@pytest.mark.parametrize("report", [None, "r.json"])
def test_a_map_of_disagreement_needs_a_folder(report: str | None) -> None:
    with pytest.raises(SettingsError, match=r"^disagreement: has nowhere to go; found report .*, expected a folder"):
        RunSettings(disagreement=True, report=report)


def test_the_same_scans_weights_and_settings_count_as_finished(
    tmp_path: Path, make_case: Callable[..., Path], run: Run, report_of: Callable[[str], dict]
) -> None:
    make_case(tmp_path / "in", CASE)
    assert [run()[0].state for _ in range(2)] == [State.DONE, State.KEPT]
    digests = report_of(CASE)["digests"]
    t1n, mask = tmp_path / "in" / CASE / f"{CASE}-t1n.nii.gz", tmp_path / "out" / f"{CASE}.nii.gz"
    assert digests["inputs"]["t1n"]["sha256"] == hashlib.sha256(t1n.read_bytes()).hexdigest()
    assert digests["mask"] == hashlib.sha256(mask.read_bytes()).hexdigest()


@pytest.mark.parametrize("change", [{"fusion": "mean"}, {"overlap": 0.2}, {"labels": "brats2021"}], ids=str)
def test_a_case_is_done_again_under_other_settings(
    tmp_path: Path, make_case: Callable[..., Path], run: Run, change: dict
) -> None:
    make_case(tmp_path / "in", CASE)
    run()
    assert [run(**change)[0].state for _ in range(2)] == [State.DONE, State.KEPT]
    assert run(report=None, **change)[0].state is State.KEPT


@pytest.mark.parametrize("what", ["previews", "probabilities"])
def test_pictures_and_maps_of_an_earlier_mask_are_made_again(
    tmp_path: Path, make_case: Callable[..., Path], run: Run, what: str
) -> None:
    make_case(tmp_path / "in", CASE)
    beside = {what: tmp_path / what}
    beside[what].mkdir()
    run(**beside)
    assert run(fusion="mean")[0].state is State.DONE
    assert [run(fusion="mean", **beside)[0].state for _ in range(2)] == [State.DONE, State.KEPT]


def test_a_map_of_disagreement_is_deleted_with_its_report_unless_a_user_made_it(
    tmp_path: Path, make_case: Callable[..., Path], run: Run
) -> None:
    make_case(tmp_path / "in", CASE)
    path = tmp_path / "reports" / f"{CASE}-disagreement.nii.gz"
    run(disagreement=True)
    assert path.exists()
    run(fusion="mean")
    assert not path.exists()
    path.write_bytes(b"mine")
    run(again=True)
    assert path.read_bytes() == b"mine"


def test_a_case_with_other_scans_is_done_again_only_if_a_report_knows_the_old_ones(
    tmp_path: Path, make_case: Callable[..., Path], run: Run
) -> None:
    make_case(tmp_path / "in", CASE)
    run()
    make_case(tmp_path / "in", CASE, seed=2)
    assert run(report=None)[0].state is State.KEPT
    assert [run()[0].state for _ in range(2)] == [State.DONE, State.KEPT]


def test_a_case_is_done_again_with_other_members(
    tmp_path: Path, make_case: Callable[..., Path], run: Run, ensemble: Ensemble
) -> None:
    make_case(tmp_path / "in", CASE)
    run()
    how = RunSettings(report=tmp_path / "reports")
    cases = [outputs_of(case, tmp_path / "out", how, GLIOMA) for case in find_cases(tmp_path / "in")]
    one = replace(ensemble, members=ensemble.members[:1])
    assert [o.state for o in segment_on(Resources(one, how), cases, watcher=Watcher())] == [State.DONE]


def test_an_empty_mask_is_finished_only_if_its_report_says_so(
    tmp_path: Path, make_case: Callable[..., Path], run: Run, ensemble: Ensemble, always: Callable[..., nn.Module]
) -> None:
    make_case(tmp_path / "in", CASE)
    for networks in ensemble.networks.values():
        networks[:] = [always(0.1, 0.1, 0.1)]
    assert [run()[0].state for _ in range(2)] == [State.DONE, State.KEPT]
    assert run(report=None)[0].state is State.DONE


def test_a_mask_that_was_changed_by_hand_is_kept_with_a_note(
    tmp_path: Path, make_case: Callable[..., Path], run: Run
) -> None:
    make_case(tmp_path / "in", CASE)
    run()
    path = tmp_path / "out" / f"{CASE}.nii.gz"
    mask = read_label_map(path)
    mask.array[mask.array == 2] = 0
    write_case_file(path, mask.array, mask.affine)
    (outcome,) = run()
    assert outcome.state is State.KEPT
    assert outcome.notes == (
        "its mask is not the one that its report was made from; segment the case again for a matching report",
    )
    np.testing.assert_array_equal(read_label_map(path).array, mask.array)


@pytest.mark.parametrize("change", [{"digests": None}, {"format": 1}, {"digests": {"inputs": [1]}}], ids=str)
def test_a_case_whose_report_lacks_what_it_was_made_from_is_done_again(
    tmp_path: Path, make_case: Callable[..., Path], run: Run, report_of: Callable[[str], dict], change: dict
) -> None:
    make_case(tmp_path / "in", CASE)
    run()
    path = tmp_path / "reports" / f"{CASE}.json"
    path.write_text(json.dumps(report_of(CASE) | change))
    assert run()[0].state is State.DONE


def test_scans_that_change_while_they_are_read_are_refused(
    tmp_path: Path, make_case: Callable[..., Path], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The grid and the size stay as they were."""
    path = make_case(tmp_path / "in", CASE) / f"{CASE}-t2f.nii.gz"
    read = pipeline.read_case

    def read_and_change(*arguments: object, **named: object) -> object:
        volume = read(*arguments, **named)
        path.write_bytes(path.read_bytes())
        return volume

    monkeypatch.setattr(pipeline, "read_case", read_and_change)
    (outcome,) = run()
    assert outcome.state is State.FAILED
    assert outcome.error.startswith(f"{CASE}: t2f ({path.name}) changed while it was read. Run again")
