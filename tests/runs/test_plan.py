"""A run turns a folder of cases into masks and a report, here with tiny members from a weights folder."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from htcnns.errors import InputError, OutputError, SettingsError, WeightsError
from htcnns.files.nifti import read_label_map
from htcnns.reports.outcome import Outcome, State
from htcnns.runs.course import count, run
from htcnns.runs.devices import environment
from htcnns.runs.plan import RunPlan, look_again, plan_run
from htcnns.runs.settings import RunSettings
from htcnns.runs.shard import Shard
from htcnns.runs.watcher import Watcher

FIRST, SECOND = "BraTS-GLI-00001-000", "BraTS2021_00002"


@pytest.fixture
def two(tmp_path: Path, make_case: Callable[..., Path]) -> Path:
    """A folder of two cases of different years."""
    make_case(tmp_path / "in", FIRST, seed=1)
    make_case(tmp_path / "in", SECOND, naming="BraTS 2021-22", seed=2)
    return tmp_path / "in"


@pytest.fixture
def plan_of(tmp_path: Path, tiny_weights: Path) -> Callable[..., RunPlan]:
    """Plans a run from `in` to `out` with the tiny members in full precision, unless told otherwise."""

    def make(*, input: Path = tmp_path / "in", output: Path = tmp_path / "out", **settings: object) -> RunPlan:
        defaults = {"weights": tiny_weights, "device": "cpu", "precision": "fp32"}
        return plan_run(input, output, RunSettings(**(defaults | settings)))

    return make


def _run(plan: RunPlan) -> list[Outcome]:
    return run(plan, watcher=Watcher(), on_outcome=bool)


def _report(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.usefixtures("two")
def test_the_report_holds_what_a_person_needs_to_repeat_the_run(
    tmp_path: Path, plan_of: Callable[..., RunPlan], tiny_weights: Path
) -> None:
    report = tmp_path / "elsewhere" / "report.json"
    _run(plan_of(report=report))
    content = _report(report)
    manifest = json.loads((tiny_weights / "manifest.json").read_text())
    assert (content["device"], content["precision"], content["n_done"], content["n_failed"]) == ("cpu", "fp32", 2, 0)
    assert content["environment"] == environment()
    assert (content["settings"]["fusion"], content["input"]) == ("staple", str(tmp_path / "in"))
    assert [member["files"] for member in content["members"]] == [
        {file["name"]: file["sha256"] for file in member["files"]} for member in manifest["members"]
    ]


@pytest.mark.usefixtures("two")
def test_the_report_has_each_cases_label_numbers_volumes_and_members(
    tmp_path: Path, plan_of: Callable[..., RunPlan]
) -> None:
    outcomes = _run(plan_of(report=tmp_path / "report.json"))
    cases = _report(tmp_path / "report.json")["cases"]
    assert [case["case"] for case in cases] == [FIRST, SECOND]
    assert [case["labels"] for case in cases] == [{"NCR": 1, "ED": 2, "ET": 3}, {"NCR": 1, "ED": 2, "ET": 4}]
    assert [case["mask"] for case in cases] == [str(outcome.mask) for outcome in outcomes]
    assert [member["name"] for member in cases[0]["members"]] == ["unet", "transbts", "axial_unet"]
    assert cases[0]["volumes_ml"].keys() == cases[0]["members"][0]["largest"].keys() == {"WT", "TC", "ET"}


def test_the_report_of_a_bad_case_has_its_traceback(tmp_path: Path, two: Path, plan_of: Callable[..., RunPlan]) -> None:
    (two / FIRST / f"{FIRST}-t1n.nii.gz").unlink()
    outcomes = _run(plan_of(report=tmp_path / "report.json"))
    content = _report(tmp_path / "report.json")
    assert [case["state"] for case in content["cases"]] == [State.FAILED, State.DONE]
    assert content["n_failed"] == count(outcomes, State.FAILED) == 1
    assert content["cases"][0]["error"].startswith(f"{FIRST}: t1n missing")
    assert "Traceback" in content["cases"][0]["trace"]


@pytest.mark.usefixtures("two")
def test_the_report_is_written_even_when_the_disk_is_full(
    tmp_path: Path, plan_of: Callable[..., RunPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def full(source: Path, target: Path) -> None:
        if SECOND in target.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr("htcnns.files.atomic.os.replace", full)
    with pytest.raises(OutputError, match=rf"cannot write {SECOND}\.nii\.gz \(No space left on device\); expected"):
        _run(plan_of(report=tmp_path / "report.json"))
    cases = _report(tmp_path / "report.json")["cases"]
    assert [(case["case"], case["state"]) for case in cases] == [(FIRST, State.DONE), (SECOND, State.NOT_STARTED)]


@pytest.mark.usefixtures("two")
def test_the_report_lists_kept_cases(tmp_path: Path, plan_of: Callable[..., RunPlan]) -> None:
    _run(plan_of(report=tmp_path / "report.json"))
    assert [outcome.state for outcome in _run(plan_of(report=tmp_path / "report.json"))] == [State.KEPT, State.KEPT]
    content = _report(tmp_path / "report.json")
    assert [case["state"] for case in content["cases"]] == [State.KEPT, State.KEPT]
    assert content["n_done"] == 0


@pytest.mark.slow
@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("fusion", ["staple", "majority", "mean"])
def test_two_runs_write_byte_identical_masks(tmp_path: Path, plan_of: Callable[..., RunPlan], fusion: str) -> None:
    first = _run(plan_of(output=tmp_path / "a", fusion=fusion))
    second = _run(plan_of(output=tmp_path / "b", fusion=fusion))
    assert [outcome.mask.read_bytes() for outcome in first] == [outcome.mask.read_bytes() for outcome in second]
    assert all(read_label_map(outcome.mask).array.any() for outcome in first)


@pytest.mark.usefixtures("two")
def test_one_member_and_all_members_write_different_masks(tmp_path: Path, plan_of: Callable[..., RunPlan]) -> None:
    together = _run(plan_of(output=tmp_path / "all"))
    alone = _run(plan_of(output=tmp_path / "one", members=("axial_unet",)))
    assert [finding.name for finding in alone[0].members] == ["axial_unet"]
    assert not np.array_equal(read_label_map(alone[0].mask).array, read_label_map(together[0].mask).array)


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("folder", ["out", "probabilities", "previews", "reports"])
def test_what_a_killed_run_left_is_swept_from_every_folder(
    tmp_path: Path, plan_of: Callable[..., RunPlan], folder: str
) -> None:
    folders = {"probabilities": tmp_path / "probabilities", "previews": tmp_path / "previews"}
    (tmp_path / folder).mkdir()
    left, mine = tmp_path / folder / ".htcnns-99-x.nii.gz.part", tmp_path / folder / ".hidden.part"
    left.touch()
    mine.touch()
    assert plan_of(**folders, report=tmp_path / "reports" / "x.json").swept == (left,)
    assert list(tmp_path.glob("*/.*")) == [mine]


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"input": Path("nowhere")}, InputError, "nowhere: does not exist"),
        (
            {"members": ("nobody",)},
            SettingsError,
            "unknown member 'nobody'; expected one of unet, transbts, axial_unet",
        ),
        ({"weights": Path("nowhere")}, WeightsError, "nowhere: no manifest.json there"),
        ({"device": "tpu"}, SettingsError, "unknown device 'tpu'"),
    ],
    ids=["input", "members", "weights", "device"],
)
def test_a_mistake_in_the_request_leaves_no_folder_behind(
    tmp_path: Path, plan_of: Callable[..., RunPlan], changes: dict, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        plan_of(**changes)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("what", ["output", "report", "probabilities", "previews"])
def test_a_place_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, plan_of: Callable[..., RunPlan], what: str
) -> None:
    (tmp_path / "file").touch()
    blocked = tmp_path / "file" / "below"
    place = blocked / "report.json" if what == "report" else blocked
    with pytest.raises(OutputError, match=r"file/below: cannot be written by user \d+ .*expected a writable folder"):
        plan_of(**{what: place})


@pytest.mark.usefixtures("two")
def test_a_report_that_is_a_folder_is_refused_before_any_work(tmp_path: Path, plan_of: Callable[..., RunPlan]) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(OutputError, match=r"is a folder; expected the name of a file"):
        plan_of(report=tmp_path / "report.json")


@pytest.mark.usefixtures("two")
def test_a_report_in_an_unreadable_folder_is_refused_before_any_work(
    tmp_path: Path, plan_of: Callable[..., RunPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal is simulated, as root may look everywhere."""
    real, report = os.stat, tmp_path / "locked" / "report.json"

    def refuse(path: object, *arguments: object, **named: object) -> os.stat_result:
        if path == report:
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **named)  # type: ignore[call-overload]

    monkeypatch.setattr("htcnns.files.atomic.os.stat", refuse)
    with pytest.raises(OutputError, match=r"^report: .*: cannot be written by user \d+ \(Permission denied\)"):
        plan_of(report=report)


@pytest.mark.parametrize("again", [False, True])
def test_a_scan_is_neither_taken_for_a_mask_nor_replaced_by_one(
    tmp_path: Path, make_case: Callable[..., Path], plan_of: Callable[..., RunPlan], again: bool
) -> None:
    """A folder called flair that holds one case, segmented into itself."""
    folder = make_case(tmp_path, "P7", naming="free").rename(tmp_path / "flair")
    scan = (folder / "P7_t2f.nii.gz").rename(folder / "flair.nii.gz")
    content = scan.read_bytes()
    with pytest.raises(SettingsError, match=r"flair\.nii\.gz: is a scan or truth of flair"):
        plan_of(input=folder, output=folder, again=again)
    assert scan.read_bytes() == content


def test_a_report_never_replaces_a_scan(two: Path, plan_of: Callable[..., RunPlan]) -> None:
    scan = two / FIRST / f"{FIRST}-t1n.nii.gz"
    with pytest.raises(SettingsError, match=r"^report: .*t1n\.nii\.gz: is a scan or truth of .*, and the report"):
        plan_of(report=scan)


def test_files_that_belong_to_no_case_are_in_the_report(
    tmp_path: Path, two: Path, plan_of: Callable[..., RunPlan]
) -> None:
    other = two / FIRST / "localizer.nii.gz"
    other.touch()
    _run(plan_of(report=tmp_path / "report.json"))
    (told,) = _report(tmp_path / "report.json")["not_used"]
    assert (told["path"], bool(told["reason"])) == (str(other), True)


@pytest.mark.slow
@pytest.mark.parametrize(("output", "maps"), [("in", "maps"), ("in/masks", "in/maps")])
@pytest.mark.usefixtures("two")
def test_outputs_in_the_input_are_not_taken_for_scans_by_the_next_run(
    tmp_path: Path, plan_of: Callable[..., RunPlan], output: str, maps: str
) -> None:
    places = {"output": tmp_path / output, "probabilities": tmp_path / maps, "previews": tmp_path / maps}
    assert [outcome.state for outcome in _run(plan_of(**places))] == [State.DONE, State.DONE]
    plan = plan_of(**places)
    assert ([each.case.name for each in plan.cases], plan.not_used) == ([FIRST, SECOND], ())


def test_an_input_that_is_a_link_to_itself_is_an_input_error(tmp_path: Path, plan_of: Callable[..., RunPlan]) -> None:
    (tmp_path / "in").symlink_to("in")
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match=r"in: .*expected a folder of cases"):
        plan_of()


@pytest.mark.usefixtures("two")
def test_a_case_in_the_output_folder_is_not_lost(tmp_path: Path, plan_of: Callable[..., RunPlan]) -> None:
    plan = plan_of(output=tmp_path / "in" / FIRST)
    assert [each.case.name for each in plan.cases] == [FIRST, SECOND]


@pytest.mark.slow
@pytest.mark.usefixtures("two")
def test_mirroring_one_axis_doubles_the_windows(tmp_path: Path, plan_of: Callable[..., RunPlan]) -> None:
    mirrored = _run(plan_of(overlap=0.0, mirror="i"))
    plain = _run(plan_of(output=tmp_path / "plain"))
    assert [outcome.n_windows for outcome in mirrored] == [2 * outcome.n_windows for outcome in plain]


def test_a_case_segmented_into_its_own_folder_loses_nothing(
    tmp_path: Path, make_case: Callable[..., Path], plan_of: Callable[..., RunPlan]
) -> None:
    folder = make_case(tmp_path, "P7", naming="free")
    (folder / "P7.nii.gz").write_bytes(b"mine")
    (outcome,) = _run(plan_of(input=folder, output=folder, on_failure="empty"))
    assert (outcome.state, (folder / "P7.nii.gz").read_bytes()) == (State.FAILED, b"mine")
    assert "P7.nii.gz: is a file of the input that no run wrote, and would be replaced" in outcome.error


@pytest.mark.slow
def test_a_case_segmented_into_its_own_folder_may_be_segmented_again(
    tmp_path: Path, make_case: Callable[..., Path], plan_of: Callable[..., RunPlan]
) -> None:
    folder = make_case(tmp_path, "P7", naming="free")
    states = [_run(plan_of(input=folder, output=folder, again=again))[0].state for again in (False, False, True)]
    assert states == [State.DONE, State.KEPT, State.DONE]


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True])
def test_a_users_file_in_an_output_folder_below_the_input_is_never_replaced(
    tmp_path: Path, make_case: Callable[..., Path], plan_of: Callable[..., RunPlan], again: bool
) -> None:
    folder = make_case(tmp_path, "P7", naming="free")
    (folder / "masks").mkdir()
    (folder / "masks" / "P7.nii.gz").write_bytes(b"mine")
    (outcome,) = _run(plan_of(input=folder, output=folder / "masks", on_failure="empty", again=again))
    assert (outcome.state, (folder / "masks" / "P7.nii.gz").read_bytes()) == (State.FAILED, b"mine")
    (folder / "masks" / "P7.nii.gz").unlink()
    states = [_run(plan_of(input=folder, output=folder / "masks", again=True))[0].state for _ in range(2)]
    assert states == [State.DONE, State.DONE]


def test_a_report_never_replaces_a_mask_in_the_input(
    tmp_path: Path, make_case: Callable[..., Path], plan_of: Callable[..., RunPlan]
) -> None:
    folder = make_case(tmp_path, "P7", naming="free")
    _run(plan_of(input=folder, output=folder))
    with pytest.raises(SettingsError, match="the report would replace it"):
        plan_of(input=folder, output=tmp_path / "out", report=folder / "P7.nii.gz")


@pytest.mark.parametrize("name", ["notes.txt", "dataset.json", "x.nii.gz"])
def test_a_report_never_replaces_a_file_of_the_input(two: Path, plan_of: Callable[..., RunPlan], name: str) -> None:
    (two / name).write_text("{}")
    with pytest.raises(SettingsError, match=r"^report: .*is a file of the input, and the report would replace it"):
        plan_of(report=two / name)
    assert (two / name).read_text() == "{}"


def test_a_report_in_the_input_is_replaced_by_the_next(two: Path, plan_of: Callable[..., RunPlan]) -> None:
    _run(plan_of(report=two / "report.json"))
    _run(plan_of(report=two / "report.json"))
    assert {case["state"] for case in _report(two / "report.json")["cases"]} == {State.KEPT}


@pytest.mark.usefixtures("two")
def test_a_report_never_replaces_the_manifest_or_a_picture(
    tmp_path: Path, plan_of: Callable[..., RunPlan], tiny_weights: Path
) -> None:
    with pytest.raises(SettingsError, match=r"is the manifest of the weights, and the report would overwrite it"):
        plan_of(report=tiny_weights / "manifest.json")
    with pytest.raises(SettingsError, match=rf"is an output of {FIRST}, and the report would overwrite it"):
        plan_of(report=tmp_path / "pictures" / f"{FIRST}.png", previews=tmp_path / "pictures")


@pytest.mark.parametrize("how", [{"on_unclear": "fail"}, {"watch_s": 1.0}], ids=["fail", "watch"])
def test_a_case_named_like_the_cohort_report_fails_alone_and_writes_no_report(
    tmp_path: Path, two: Path, make_case: Callable[..., Path], plan_of: Callable[..., RunPlan], how: dict
) -> None:
    plan = plan_of(report=tmp_path / "reports", **how)
    make_case(two, "cohort", naming="free")
    *others, cohort = look_again(plan)
    assert "cohort.json: is a part of the report of all cases" in str(cohort.case.fault)
    assert cohort.report is None
    assert [each.case.fault for each in others] == [None, None]


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("name", ["cohort.json", "cohort.csv", "index.html"])
def test_a_log_named_like_a_cohort_report_file_is_refused(
    tmp_path: Path, plan_of: Callable[..., RunPlan], name: str
) -> None:
    with pytest.raises(SettingsError, match=f"log: .*{name}: is a part of the report of all cases, which would"):
        plan_of(report=tmp_path / "reports", log=tmp_path / "elsewhere" / ".." / "reports" / name)


@pytest.mark.usefixtures("two")
def test_a_report_is_written_where_its_link_points(tmp_path: Path, plan_of: Callable[..., RunPlan]) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "report.json").symlink_to("store/report.json")
    _run(plan_of(report=tmp_path / "report.json"))
    assert (tmp_path / "report.json").is_symlink()
    assert _report(tmp_path / "store" / "report.json")["n_done"] == 2


def test_an_unclear_case_stops_the_run_or_fails_alone(two: Path, plan_of: Callable[..., RunPlan]) -> None:
    (two / FIRST / f"{FIRST}-t1c.nii").write_bytes(b"another")
    with pytest.raises(InputError, match=f"two files for t1c of {FIRST}"):
        plan_of()
    outcomes = _run(plan_of(on_unclear="fail", on_failure="empty"))
    assert [outcome.state for outcome in outcomes] == [State.FAILED, State.DONE]
    assert outcomes[0].error.startswith(f"{FIRST}: {two}/{FIRST}: two files for t1c")
    assert outcomes[0].mask.is_file()


def test_an_unclear_case_is_never_taken_for_finished(two: Path, plan_of: Callable[..., RunPlan]) -> None:
    _run(plan_of())
    (two / FIRST / f"{FIRST}-t1c.nii").write_bytes(b"another")
    outcomes = _run(plan_of(on_unclear="fail", on_failure="empty"))
    assert [outcome.state for outcome in outcomes] == [State.FAILED, State.KEPT]
    assert outcomes[0].notes == ("the existing mask was left as it is",)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda case: next(case.glob("*t2f*")).unlink(),
        lambda case: [path.rename(path.with_name(f"{path.name[:-7]}.mha")) for path in sorted(case.iterdir())],
        lambda case: (case / "P8_t1c.nii").touch(),
    ],
    ids=["incomplete", "MetaImage", "two files"],
)
def test_a_case_inside_the_output_folder_is_not_silently_left_out(
    two: Path, make_case: Callable[..., Path], plan_of: Callable[..., RunPlan], spoil: Callable[[Path], object]
) -> None:
    spoil(make_case(two / "out", "P8", naming="free"))
    plan = plan_of(output=two / "out", on_unclear="fail")
    assert [each.case.name for each in plan.cases] == [FIRST, SECOND, "P8"]


def test_a_mask_named_like_a_scan_is_not_a_case_of_the_output_folder(
    tmp_path: Path, make_case: Callable[..., Path], plan_of: Callable[..., RunPlan]
) -> None:
    make_case(tmp_path / "in", "P7", naming="free").rename(tmp_path / "in" / "P7_t1")
    runs = [_run(plan_of(output=tmp_path / "in" / "out")) for _ in range(2)]
    assert [[outcome.case for outcome in outcomes] for outcomes in runs] == [["P7_t1"]] * 2
    assert (tmp_path / "in" / "out" / "P7_t1.nii.gz").is_file()


@pytest.mark.usefixtures("two")
def test_deleting_the_output_folder_ends_the_run_with_a_sentence_and_a_report(
    tmp_path: Path, plan_of: Callable[..., RunPlan]
) -> None:
    plan = plan_of(report=tmp_path / "report.json")
    with pytest.raises(OutputError, match=r"out: cannot write .* \(No such file or directory\)"):
        run(
            plan,
            watcher=Watcher(on_start=lambda _: shutil.rmtree(tmp_path / "out", ignore_errors=True)),
            on_outcome=bool,
        )
    assert [case["state"] for case in _report(tmp_path / "report.json")["cases"]] == ["not started"] * 2
    assert not (tmp_path / "out").exists()


def _listed(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "list.txt"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize("shard", [Shard(0, 3), Shard(1, 3), Shard(2, 3)], ids=str)
def test_a_list_is_run_in_order_and_split_among_shards(
    tmp_path: Path, plan_of: Callable[..., RunPlan], shard: Shard
) -> None:
    path = _listed(tmp_path, SECOND, f"in/{FIRST}")
    assert [each.case.name for each in plan_of(case_list=path).cases] == [SECOND, FIRST]
    held = [name for name in (SECOND, FIRST) if shard.holds(name)]
    assert [each.case.name for each in plan_of(case_list=path, shard=shard).cases] == held


@pytest.mark.usefixtures("two")
def test_a_row_that_names_no_case_stops_the_run_or_fails_alone(tmp_path: Path, plan_of: Callable[..., RunPlan]) -> None:
    path = _listed(tmp_path, FIRST, "P9")
    with pytest.raises(InputError, match=r"list\.txt: line 2: P9: not found"):
        plan_of(case_list=path)
    assert not (tmp_path / "out").exists()
    outcomes = _run(plan_of(case_list=path, on_unclear="fail"))
    assert [(outcome.case, outcome.state) for outcome in outcomes] == [(FIRST, State.DONE), ("P9", State.FAILED)]
    assert outcomes[1].error.startswith(f"P9: {path}: line 2: P9: not found")


@pytest.mark.usefixtures("two")
def test_a_report_never_replaces_the_list(tmp_path: Path, plan_of: Callable[..., RunPlan]) -> None:
    path = tmp_path / "list.json"
    path.write_text(json.dumps([FIRST]))
    with pytest.raises(SettingsError, match=r"list\.json: is the list of cases, and the report would overwrite it"):
        plan_of(case_list=path, report=path)


def test_a_listed_case_keeps_its_files_wherever_the_masks_go(
    tmp_path: Path, make_case: Callable[..., Path], plan_of: Callable[..., RunPlan]
) -> None:
    """A case outside the input; its folder is also the output folder and holds a mask that the user made."""
    (tmp_path / "in").mkdir()
    case = make_case(tmp_path / "elsewhere", "P7", naming="free")
    (case / "P7.nii.gz").write_bytes(b"the user's")
    (outcome,) = _run(plan_of(case_list=_listed(tmp_path, "elsewhere/P7"), output=case))
    assert outcome.state is State.FAILED
    assert "is a file of the input that no run wrote" in outcome.error
    assert (case / "P7.nii.gz").read_bytes() == b"the user's"
