"""Batches of cases: what is kept, what fails alone, and what ends the batch."""

import errno
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from htcnns.errors import OutputError
from htcnns.files import nifti
from htcnns.files.cases import Case, find_cases
from htcnns.files.claims import Claims
from htcnns.files.outputs import CaseOutputs
from htcnns.labels import GLIOMA, Label
from htcnns.reports.outcome import Outcome, State
from htcnns.runs import batch, case_files
from htcnns.runs.batch import segment_on
from htcnns.runs.ensemble import Ensemble
from htcnns.runs.pipeline import ReadyCase
from htcnns.runs.plan import outputs_of
from htcnns.runs.resources import Resources
from htcnns.runs.settings import RunSettings
from htcnns.runs.watcher import Watcher

NAMES = ("BraTS-GLI-00001-000", "BraTS-GLI-00002-000", "BraTS-GLI-00003-000")
Run = Callable[..., list[Outcome]]


@pytest.fixture
def ensemble(ensemble_of: Callable[..., Ensemble], pointwise: Callable[..., nn.Module]) -> Ensemble:
    return ensemble_of([pointwise()])


@pytest.fixture
def run(tmp_path: Path, ensemble: Ensemble) -> Run:
    """A function that runs a batch over `in` into `out`."""
    (tmp_path / "out").mkdir()

    def run(
        *,
        watcher: Watcher | None = None,
        on_outcome: Callable[[Outcome], object] = bool,
        ensemble: Ensemble = ensemble,
        **settings: object,
    ) -> list[Outcome]:
        how = RunSettings(**settings)
        cases = [outputs_of(case, tmp_path / "out", how, GLIOMA) for case in find_cases(tmp_path / "in")]
        outcomes = {}
        for outcome in segment_on(Resources(ensemble, how), cases, watcher=watcher or Watcher()):
            outcomes[outcome.case] = outcome
            on_outcome(outcome)
        return [outcomes[each.case.name] for each in cases if each.case.name in outcomes]

    return run


@pytest.fixture
def three(tmp_path: Path, make_case: Callable[..., Path]) -> Path:
    """A folder of three cases."""
    for seed, name in enumerate(NAMES):
        make_case(tmp_path / "in", name, seed=seed)
    return tmp_path / "in"


def _break(folder: Path, name: str) -> None:
    """Cut a case's t2w in half."""
    path = folder / name / f"{name}-t2w.nii.gz"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _states(outcomes: list[Outcome]) -> list[State]:
    return [outcome.state for outcome in outcomes]


def _prints(folder: Path) -> dict[str, tuple[int, str]]:
    """Modification time and sha256 of every file in a folder."""
    return {
        path.name: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.iterdir())
    }


@pytest.mark.usefixtures("three")
def test_every_case_gets_one_mask_and_nothing_else(tmp_path: Path, run: Run) -> None:
    outcomes = run()
    assert [outcome.case for outcome in outcomes] == list(NAMES)
    assert _states(outcomes) == [State.DONE] * 3
    assert [outcome.mask for outcome in outcomes] == [tmp_path / "out" / f"{name}.nii.gz" for name in NAMES]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{name}.nii.gz" for name in NAMES]


@pytest.mark.usefixtures("three")
def test_an_outcome_has_labels_volumes_and_time(run: Run) -> None:
    outcome = run()[0]
    assert (outcome.label_set, outcome.labels) == ("brats2023", {"NCR": 1, "ED": 2, "ET": 3})
    counts = np.bincount(np.asarray(nib.load(outcome.mask).dataobj).ravel(), minlength=4)
    expected = {"WT": counts[1:].sum() / 1000, "TC": (counts[1] + counts[3]) / 1000, "ET": counts[3] / 1000}
    assert outcome.volumes_ml == pytest.approx(expected)
    assert outcome.n_windows == 1
    assert 0 < outcome.forward_s < outcome.seconds


@pytest.mark.parametrize("bad", range(3))
def test_a_bad_case_fails_alone(tmp_path: Path, three: Path, run: Run, bad: int) -> None:
    run()
    whole = _prints(tmp_path / "out")
    _break(three, NAMES[bad])
    outcomes = run(again=True)
    assert _states(outcomes) == [State.FAILED if n == bad else State.DONE for n in range(3)]
    assert outcomes[bad].mask is None
    assert {name: content for name, (_, content) in _prints(tmp_path / "out").items()} == {
        name: content for name, (_, content) in whole.items()
    }


def test_a_failed_case_has_a_sentence_and_a_traceback(three: Path, run: Run) -> None:
    _break(three, NAMES[1])
    outcome = run()[1]
    assert outcome.error.startswith(f"{NAMES[1]}: {three}/{NAMES[1]}/{NAMES[1]}-t2w.nii.gz: cut short")
    assert outcome.trace.startswith("Traceback")
    assert "InputError" in outcome.trace


def test_skip_writes_nothing_for_a_case_that_fails(tmp_path: Path, three: Path, run: Run) -> None:
    _break(three, NAMES[1])
    assert run(on_failure="skip")[1].mask is None
    assert not (tmp_path / "out" / f"{NAMES[1]}.nii.gz").exists()


def test_empty_writes_an_empty_mask_on_the_grid_of_the_t1c(tmp_path: Path, three: Path, run: Run) -> None:
    _break(three, NAMES[1])
    outcome = run(on_failure="empty")[1]
    mask = nib.load(tmp_path / "out" / f"{NAMES[1]}.nii.gz")
    assert (outcome.state, outcome.mask) == (State.FAILED, tmp_path / "out" / f"{NAMES[1]}.nii.gz")
    assert outcome.notes == ("an empty mask was written in its place",)
    assert not np.asarray(mask.dataobj).any()
    np.testing.assert_array_equal(mask.affine, nib.load(three / NAMES[1] / f"{NAMES[1]}-t1c.nii.gz").affine)


def test_empty_takes_the_standard_grid_where_no_header_can_be_read(three: Path, run: Run) -> None:
    for path in (three / NAMES[1]).iterdir():
        path.write_bytes(b"\x1f\x8b nothing")
    outcome = run(on_failure="empty")[1]
    assert outcome.notes == (
        "an empty mask was written in its place, on the standard BraTS grid, as no header could be used",
    )
    assert nib.load(outcome.mask).shape == (240, 240, 155)


def test_any_error_of_a_case_fails_only_that_case(three: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of ours, with an error of two lines, while one case is written; the others go on."""
    write = case_files.write_mask

    def fail(outputs: CaseOutputs, label_map: np.ndarray, *, affine: np.ndarray) -> None:
        if outputs.case.name == NAMES[0]:
            raise RuntimeError("first line\nsecond line")
        write(outputs, label_map, affine=affine)

    monkeypatch.setattr(case_files, "write_mask", fail)
    outcomes = run()
    assert _states(outcomes) == [State.FAILED, State.DONE, State.DONE]
    assert outcomes[0].error == f"{NAMES[0]}: RuntimeError: first line second line"
    assert three.is_dir()


def test_a_line_break_in_a_name_is_escaped(three: Path, run: Run) -> None:
    (three / NAMES[0]).rename(three / "P\n7  x")
    for path in sorted((three / "P\n7  x").iterdir()):
        path.rename(path.with_name(path.name[-10:]))
    (three / "P\n7  x" / "t2f.nii.gz").unlink()
    assert run()[-1].error.startswith("P\\n7  x: t2f missing; found t1n, t1c, t2w. Add P\\n7  x_t2f.nii.gz")


@pytest.mark.parametrize("change", ["voxels", "affine"])
@pytest.mark.parametrize("settings", [(), ("probabilities",)], ids=["mask", "map"])
def test_a_t1c_that_changes_before_the_mask_is_written_fails_only_its_case(
    tmp_path: Path, three: Path, run: Run, monkeypatch: pytest.MonkeyPatch, change: str, settings: tuple[str, ...]
) -> None:
    """Another scan of that name arrives while the networks work."""
    path, work = three / NAMES[1] / f"{NAMES[1]}-t1c.nii.gz", batch.segment_prepared

    def segment(ready: ReadyCase, *rest: object, **named: object) -> object:
        if ready.case.name == NAMES[1]:
            image = nib.load(path)
            voxels = np.asarray(image.dataobj)[: -1 if change == "voxels" else None]
            affine = image.affine + (np.eye(4, k=3) * 0.01 if change == "affine" else 0)
            nib.save(nib.Nifti1Image(voxels, affine), path)
        return work(ready, *rest, **named)

    monkeypatch.setattr(batch, "segment_prepared", segment)
    outcomes = run(**dict.fromkeys(settings, tmp_path))
    assert _states(outcomes) == [State.DONE, State.FAILED, State.DONE]
    says = {"voxels": "has 33 x 34 x 33 voxels instead of 34 x 34 x 33", "affine": "has another affine"}[change]
    remedy = "Run again when nothing writes to it any more."
    assert outcomes[1].error == f"{NAMES[1]}: {path}: changed after it was read: it {says}. {remedy}"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{NAMES[0]}.nii.gz", f"{NAMES[2]}.nii.gz"]


@pytest.mark.usefixtures("three")
def test_a_picture_that_cannot_be_drawn_does_not_fail_its_case(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr(case_files, "picture", fail)
    outcomes = run(previews=tmp_path)
    assert _states(outcomes) == [State.DONE, State.DONE, State.DONE]
    assert outcomes[0].notes[-1] == f"no picture: {NAMES[0]}: RuntimeError: no ink"


def test_an_empty_mask_that_stood_in_for_a_failed_case_is_not_taken_for_finished(three: Path, run: Run) -> None:
    (three / NAMES[1] / f"{NAMES[1]}-t1c.nii.gz").write_bytes(b"broken")
    assert _states(run(on_failure="empty")) == [State.DONE, State.FAILED, State.DONE]
    assert _states(run(on_failure="empty")) == [State.KEPT, State.FAILED, State.KEPT]


def test_a_mask_is_never_replaced_by_an_empty_one(tmp_path: Path, three: Path, run: Run) -> None:
    run()
    before = _prints(tmp_path / "out")
    (three / NAMES[1] / f"{NAMES[1]}-t1c.nii.gz").write_bytes(b"broken")
    outcome = run(on_failure="empty")[1]
    assert (outcome.state, outcome.notes) == (State.FAILED, ("the existing mask was left as it is",))
    assert _prints(tmp_path / "out") == before


def test_a_mask_replaces_its_stand_in_once_the_case_is_fixed(three: Path, run: Run) -> None:
    path = three / NAMES[1] / f"{NAMES[1]}-t2w.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(b"broken")
    run(on_failure="empty")
    path.write_bytes(whole)
    outcomes = run(on_failure="skip")
    assert _states(outcomes) == [State.KEPT, State.DONE, State.KEPT]
    assert np.asarray(nib.load(outcomes[1].mask).dataobj).any()


@pytest.mark.usefixtures("three")
def test_a_mask_edited_by_hand_is_replaced_only_with_again(tmp_path: Path, run: Run) -> None:
    run()
    mask = tmp_path / "out" / f"{NAMES[1]}.nii.gz"
    image = nib.load(mask)
    corrected = np.asarray(image.dataobj).copy()
    corrected[0, 0, 0] = 1
    nib.save(nib.Nifti1Image(corrected, image.affine), mask)
    content = mask.read_bytes()
    assert _states(run()) == [State.KEPT] * 3
    (tmp_path / "previews").mkdir()
    outcomes = run(previews=tmp_path / "previews")  # which the run before did not make
    assert _states(outcomes) == [State.DONE, State.FAILED, State.DONE]
    assert f"{mask}: is not as a run wrote it, and would be replaced" in outcomes[1].error
    assert mask.read_bytes() == content
    assert _states(run(previews=tmp_path / "previews", again=True)) == [State.DONE] * 3


@pytest.mark.parametrize("on_failure", ["skip", "empty"])
@pytest.mark.usefixtures("three")
def test_what_is_not_a_mask_of_the_case_is_made_again(tmp_path: Path, run: Run, on_failure: str) -> None:
    run()
    whole = _prints(tmp_path / "out")
    masks = [tmp_path / "out" / f"{name}.nii.gz" for name in NAMES]
    masks[0].write_bytes(b"")
    masks[1].write_bytes(masks[1].read_bytes()[:-40])
    masks[2].unlink()
    nib.save(nib.Nifti1Image(np.ones((5, 5, 5), np.uint8), np.eye(4)), masks[2])
    assert _states(run(on_failure=on_failure)) == [State.DONE] * 3
    assert {name: content for name, (_, content) in _prints(tmp_path / "out").items()} == {
        name: content for name, (_, content) in whole.items()
    }


@pytest.mark.parametrize("on_failure", ["skip", "empty"])
def test_a_name_too_long_for_a_file_fails_only_its_case(
    tmp_path: Path, three: Path, make_case: Callable[..., Path], run: Run, on_failure: str
) -> None:
    long = "A" * 250  # possible for a folder, too long for a file once .nii.gz is added
    make_case(tmp_path / "in", "A", naming="free").rename(three / long)
    outcomes = run(on_failure=on_failure)
    assert _states(outcomes) == [State.FAILED, State.DONE, State.DONE, State.DONE]
    assert outcomes[0].mask is None
    says = f"{long}: too long a name; found a file name of 257 bytes, expected one short enough for "
    assert outcomes[0].error == f"{says}{tmp_path}/out. Give the case a shorter name."


@pytest.mark.parametrize("what", ["probabilities", "previews"])
def test_a_kept_case_that_lacks_a_requested_output_is_done_again(
    tmp_path: Path, make_case: Callable[..., Path], run: Run, what: str
) -> None:
    make_case(tmp_path / "in", NAMES[0])
    (tmp_path / "extra").mkdir()
    run()
    assert [_states(run(**{what: tmp_path / "extra"})) for _ in range(2)] == [[State.DONE], [State.KEPT]]
    assert list((tmp_path / "extra").iterdir())


def test_a_kept_mask_with_other_numbers_than_requested_is_made_again(
    make_case: Callable[..., Path], tmp_path: Path, run: Run
) -> None:
    make_case(tmp_path / "in", NAMES[0])
    run()
    assert [_states(run(labels="brats2021")) for _ in range(2)] == [[State.DONE], [State.KEPT]]


@pytest.mark.usefixtures("three")
def test_finished_cases_are_kept_untouched_and_listed(tmp_path: Path, run: Run) -> None:
    run()
    (tmp_path / "out" / f"{NAMES[1]}.nii.gz").unlink()
    before, told = _prints(tmp_path / "out"), []
    outcomes = run(on_outcome=told.append)
    assert _states(outcomes) == [State.KEPT, State.DONE, State.KEPT]
    assert sorted(outcome.case for outcome in told) == list(NAMES)
    assert before.items() <= _prints(tmp_path / "out").items()


@pytest.mark.usefixtures("three")
def test_again_rewrites_every_mask_with_the_same_bytes(tmp_path: Path, run: Run) -> None:
    run()
    before = _prints(tmp_path / "out")
    assert _states(run(again=True)) == [State.DONE] * 3
    after = _prints(tmp_path / "out")
    assert all(after[name][0] > time for name, (time, _) in before.items())
    assert {name: content for name, (_, content) in after.items()} == {
        name: content for name, (_, content) in before.items()
    }


@pytest.mark.parametrize(
    ("name", "naming", "labels", "numbers"),
    [
        ("BraTS2021_00495", "BraTS 2021-22", None, {"NCR": 1, "ED": 2, "ET": 4}),
        ("Brats18_2013_2_1", "BraTS 2017-20", None, {"NCR": 1, "ED": 2, "ET": 4}),
        ("BraTS-GLI-00001-000", "BraTS 2023+", None, {"NCR": 1, "ED": 2, "ET": 3}),
        ("P7", "free", None, {"NCR": 1, "ED": 2, "ET": 3}),
        ("P7", "free", "brats2021", {"NCR": 1, "ED": 2, "ET": 4}),
        ("BraTS-PED-00001-000", "BraTS 2023+", "brats2024-ped", {"NCR": 2, "ED": 4, "ET": 1}),
        ("BraTS-GLI-00001-000", "BraTS 2023+", "brats2024-gli", {"NCR": 1, "ED": 2, "ET": 3}),
    ],
)
def test_masks_hold_the_numbers_of_the_cases_year(
    tmp_path: Path,
    make_case: Callable[..., Path],
    run: Run,
    name: str,
    naming: str,
    labels: str | None,
    numbers: dict[str, int],
) -> None:
    make_case(tmp_path / "in", name, naming=naming)
    (inside,) = run(labels="brats2023")  # numbers as in Label
    ours = np.asarray(nib.load(inside.mask).dataobj)
    (outcome,) = run(labels=labels, again=True)
    found = np.asarray(nib.load(outcome.mask).dataobj)
    assert outcome.labels == numbers
    assert {label: set(found[ours == Label[label]].tolist()) for label in numbers} == {
        label: {number} for label, number in numbers.items()
    }


def test_a_mask_has_the_geometry_of_the_t1c(tmp_path: Path, make_case: Callable[..., Path], run: Run) -> None:
    """The qform and the sform have their own codes, and no other sequence has exactly this affine."""
    folder = make_case(tmp_path / "in", NAMES[0])
    path = folder / f"{NAMES[0]}-t1c.nii.gz"
    image = nib.load(path)
    shifted = image.affine + 1e-4 * np.eye(4, k=3)
    changed = nib.Nifti1Image(np.asarray(image.dataobj), shifted)
    changed.set_sform(shifted, code=4)
    changed.set_qform(image.affine, code=2)
    changed.header.set_xyzt_units("mm", "msec")
    nib.save(changed, path)
    mask, like = nib.load(run()[0].mask), nib.load(path)
    assert mask.shape == like.shape
    assert mask.get_data_dtype() == np.uint8
    for matrix in ("affine", "get_qform", "get_sform"):
        of_mask, of_t1c = (getattr(image, matrix) for image in (mask, like))
        np.testing.assert_array_equal(*(m() if callable(m) else m for m in (of_mask, of_t1c)))
    assert [int(mask.header[f"{form}form_code"]) for form in "qs"] == [2, 4]
    assert mask.header.get_xyzt_units() == ("mm", "msec")


def test_short_names_are_only_for_flat_cases_of_2021(tmp_path: Path, make_case: Callable[..., Path], run: Run) -> None:
    make_case(tmp_path / "in", "BraTS2021_00495", naming="BraTS 2021-22", flat=True)
    make_case(tmp_path / "in", "BraTS2021_00500", naming="BraTS 2021-22")
    make_case(tmp_path / "in", NAMES[0], flat=True)
    assert [outcome.mask.name for outcome in run(short_names=True)] == [
        f"{NAMES[0]}.nii.gz",
        "00495.nii.gz",
        "BraTS2021_00500.nii.gz",
    ]


def test_probabilities_and_previews_go_where_they_are_asked_for(
    tmp_path: Path, make_case: Callable[..., Path], run: Run
) -> None:
    make_case(tmp_path / "in", NAMES[0])
    (tmp_path / "extra").mkdir()
    run(probabilities=tmp_path / "extra", previews=tmp_path / "extra", fusion="mean")
    assert sorted(path.name for path in (tmp_path / "extra").iterdir()) == [
        *(f"{NAMES[0]}-{region}.nii.gz" for region in ("ET", "TC", "WT")),
        f"{NAMES[0]}.png",
    ]
    et = nib.load(tmp_path / "extra" / f"{NAMES[0]}-ET.nii.gz").get_fdata()
    mask = np.asarray(nib.load(tmp_path / "out" / f"{NAMES[0]}.nii.gz").dataobj)
    np.testing.assert_array_equal(et >= 0.5, mask == 3)


@pytest.mark.parametrize("where", ["os.fsync", "os.replace"])
@pytest.mark.usefixtures("three")
def test_a_full_disk_ends_the_batch_and_keeps_what_is_finished(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    module, name = where.split(".")
    real, calls = getattr(os, name), []

    def full_at_the_second(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(f"htcnns.files.atomic.{module}.{name}", full_at_the_second)
    told = []
    with pytest.raises(OutputError, match=r"cannot write .*00002-000.*No space left.*Free space there"):
        run(on_outcome=told.append)
    assert [outcome.case for outcome in told] == [NAMES[0]]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{NAMES[0]}.nii.gz"]


@pytest.mark.usefixtures("three")
def test_a_stop_between_windows_drops_the_current_case_and_keeps_the_earlier_ones(tmp_path: Path, run: Run) -> None:
    windows = []
    watcher = Watcher(on_window=lambda *done: windows.append(done), should_stop=lambda: len(windows) >= 2)
    assert _states(run(watcher=watcher)) == [State.DONE]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [f"{NAMES[0]}.nii.gz"]
    assert windows == [(1, 1), (1, 1)]


@pytest.mark.usefixtures("three")
def test_a_stop_is_obeyed_while_finished_cases_are_checked(run: Run) -> None:
    run()
    kept: list[Outcome] = []
    outcomes = run(on_outcome=kept.append, watcher=Watcher(should_stop=lambda: len(kept) >= 2))
    assert _states(outcomes) == [State.KEPT, State.KEPT]


def test_a_mask_of_three_sequences_is_not_kept_when_all_are_required(three: Path, run: Run) -> None:
    (three / NAMES[1] / f"{NAMES[1]}-t2f.nii.gz").unlink()
    run(allow_missing=True)
    assert _states(run(allow_missing=True)) == [State.KEPT] * 3
    outcomes = run()
    assert _states(outcomes) == [State.KEPT, State.FAILED, State.KEPT]
    assert "t2f missing" in outcomes[1].error


@pytest.mark.usefixtures("three")
def test_a_stop_before_the_first_case_starts_none(tmp_path: Path, run: Run) -> None:
    assert _states(run(watcher=Watcher(should_stop=lambda: True))) == []
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.usefixtures("three")
def test_the_next_case_is_read_while_the_current_one_is_segmented(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    read, seen = threading.Event(), []
    prepare, names = batch.prepare_case, []

    def note(case: Case, ensemble: Ensemble, **named: object) -> ReadyCase:
        names.append(case.name)
        if len(names) == 2:
            read.set()
        return prepare(case, ensemble, **named)

    monkeypatch.setattr(batch, "prepare_case", note)
    run(watcher=Watcher(on_window=lambda *_: seen.append(read.wait(20))))
    assert seen == [True] * 3
    assert names == list(NAMES)


def test_windows_are_counted_over_all_members_and_folds(
    tmp_path: Path,
    make_case: Callable[..., Path],
    run: Run,
    ensemble_of: Callable[..., Ensemble],
    pointwise: Callable[..., nn.Module],
) -> None:
    make_case(tmp_path / "in", NAMES[0])
    starts, windows = [], []
    watcher = Watcher(on_start=lambda *start: starts.append(start), on_window=lambda *done: windows.append(done))
    run(watcher=watcher, ensemble=ensemble_of([pointwise(), pointwise()], [pointwise()]))
    assert starts == [(NAMES[0],)]
    assert windows == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("unit", [1, 3], ids=["metres", "micrometres"])
def test_a_stand_in_is_written_in_mm_whatever_the_headers_unit(three: Path, run: Run, unit: int) -> None:
    path = three / NAMES[1] / f"{NAMES[1]}-t1c.nii.gz"
    image = nib.load(path)
    image.header["xyzt_units"] = unit
    nib.save(image, path)
    outcomes = run(on_failure="empty")
    assert _states(outcomes) == [State.DONE, State.FAILED, State.DONE]
    mask = nib.load(outcomes[1].mask)
    assert (mask.header.get_xyzt_units()[0], mask.shape) == ("mm", image.shape)


@pytest.mark.parametrize("on_failure", ["skip", "empty"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
@pytest.mark.usefixtures("three")
def test_a_folder_or_pipe_in_a_masks_place_fails_only_that_case(
    tmp_path: Path, run: Run, make: Callable[[Path], None], on_failure: str
) -> None:
    make(tmp_path / "out" / f"{NAMES[1]}.nii.gz")
    outcomes = run(on_failure=on_failure)
    assert _states(outcomes) == [State.DONE, State.FAILED, State.DONE]
    assert (outcomes[1].mask, "Move it away" in outcomes[1].error) == (None, True)


@pytest.mark.usefixtures("three")
def test_a_folder_in_a_pictures_place_fails_only_that_case(tmp_path: Path, run: Run) -> None:
    (tmp_path / "pictures" / f"{NAMES[1]}.png").mkdir(parents=True)
    assert _states(run(previews=tmp_path / "pictures")) == [State.DONE, State.FAILED, State.DONE]


@pytest.mark.parametrize("function", ["kept_notes", "stand_in"])
def test_any_error_in_a_check_or_a_stand_in_affects_only_its_case(
    three: Path, run: Run, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """A bug of ours where a case is checked or replaced by an empty mask."""
    (three / NAMES[1] / f"{NAMES[1]}-t1c.nii.gz").write_bytes(b"broken")
    real = getattr(batch, function)

    def fail(outputs: CaseOutputs, **named: object) -> object:
        if outputs.case.name == NAMES[1]:
            raise RuntimeError("ours")
        return real(outputs, **named)

    monkeypatch.setattr(batch, function, fail)
    outcomes = run(on_failure="empty")
    assert _states(outcomes) == [State.DONE, State.FAILED, State.DONE]
    assert "RuntimeError: ours" in outcomes[1].error + outcomes[1].notes[0] or outcomes[1].mask


def test_a_full_disk_at_a_stand_in_also_ends_the_batch(three: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (three / NAMES[0] / f"{NAMES[0]}-t1c.nii.gz").write_bytes(b"broken")
    monkeypatch.setattr("htcnns.files.atomic.os.fsync", full)
    with pytest.raises(OutputError, match=r"cannot write .*00001-000.*No space left"):
        run(on_failure="empty")


@pytest.mark.parametrize("damaged", ["mask", "t1c"])
def test_a_gzip_name_too_long_for_isal_affects_only_its_finished_case(
    tmp_path: Path, three: Path, run: Run, damaged: str
) -> None:
    run()
    places = {"mask": tmp_path / "out" / f"{NAMES[1]}.nii.gz", "t1c": three / NAMES[1] / f"{NAMES[1]}-t1c.nii.gz"}
    whole = places[damaged].read_bytes()
    places[damaged].write_bytes(whole[:3] + b"\x08" + whole[4:10] + b"A" * 600_000 + b"\0" + whole[10:])
    expected = {"mask": State.DONE, "t1c": State.FAILED}[damaged]
    assert _states(run()) == [State.KEPT, expected, State.KEPT]


@pytest.mark.usefixtures("three")
def test_a_case_claimed_by_another_run_comes_last(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "_WAIT_S", 0.01)
    mask, done, waits = tmp_path / "out" / f"{NAMES[0]}.nii.gz", [], []
    with Claims() as others:
        assert others.take(mask)

        def give_back(n_cases: int) -> None:
            waits.append(n_cases)
            others.give_back(mask)

        outcomes = run(on_outcome=lambda outcome: done.append(outcome.case), watcher=Watcher(on_wait=give_back))
    assert (done, waits) == ([NAMES[1], NAMES[2], NAMES[0]], [1])
    assert _states(outcomes) == [State.DONE] * 3


@pytest.mark.usefixtures("three")
def test_a_case_that_another_run_finishes_meanwhile_is_kept(tmp_path: Path, run: Run) -> None:
    run()
    whole = _prints(tmp_path / "out")
    mask = tmp_path / "out" / f"{NAMES[2]}.nii.gz"
    content = mask.read_bytes()
    for name in NAMES:
        (tmp_path / "out" / f"{name}.nii.gz").unlink()
    outcomes = run(watcher=Watcher(on_start=lambda name: mask.write_bytes(content) if name == NAMES[0] else None))
    assert _states(outcomes) == [State.DONE, State.DONE, State.KEPT]
    assert {name: text for name, (_, text) in _prints(tmp_path / "out").items()} == {
        name: text for name, (_, text) in whole.items()
    }


@pytest.mark.usefixtures("three")
def test_a_case_claimed_by_another_run_starts_only_once(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "_WAIT_S", 0.01)
    starts: list[str] = []
    mask = tmp_path / "out" / f"{NAMES[1]}.nii.gz"
    with Claims() as others:
        assert others.take(mask)
        threading.Timer(0.3, others.give_back, [mask]).start()
        run(watcher=Watcher(on_start=starts.append))
    assert starts == [NAMES[0], NAMES[2], NAMES[1]]


@pytest.mark.usefixtures("three")
def test_a_run_that_waits_for_another_can_be_stopped(tmp_path: Path, run: Run) -> None:
    stops: list[int] = []
    with Claims() as others:
        assert others.take(tmp_path / "out" / f"{NAMES[1]}.nii.gz")
        outcomes = run(watcher=Watcher(on_wait=stops.append, should_stop=lambda: bool(stops)))
    assert [outcome.case for outcome in outcomes] == [NAMES[0], NAMES[2]]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"{NAMES[0]}.nii.gz",
        f"{NAMES[2]}.nii.gz",
    ]


@pytest.mark.slow
@pytest.mark.usefixtures("three")
def test_a_case_that_is_not_read_in_time_fails_alone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, for_ever = batch.prepare_case, threading.Event()

    def hang(case: Case, ensemble: Ensemble, **named: object) -> ReadyCase:
        if case.name == NAMES[1]:
            for_ever.wait(60)
        return prepare(case, ensemble, **named)

    monkeypatch.setattr(batch, "prepare_case", hang)
    outcomes = run(time_limit_s=2.0)
    for_ever.set()
    assert _states(outcomes) == [State.DONE, State.FAILED, State.DONE]
    assert outcomes[1].error == (
        f"{NAMES[1]}: took too long; found still being read, expected at most 2 s. Raise the time limit, or see what "
        "holds its files up."
    )


@pytest.mark.usefixtures("three")
def test_the_empty_mask_of_a_hanging_case_is_made_without_its_scans(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for_ever = threading.Event()
    monkeypatch.setattr(batch, "prepare_case", lambda *_, **__: for_ever.wait(60))
    monkeypatch.setattr(nifti, "_empty_mask_header", lambda _: pytest.fail("reads a scan"))
    outcomes = run(time_limit_s=0.1, on_failure="empty")
    for_ever.set()
    assert _states(outcomes) == [State.FAILED] * 3
    assert nib.load(tmp_path / "out" / f"{NAMES[0]}.nii.gz").shape == (240, 240, 155)
    assert "on the standard BraTS grid" in outcomes[0].notes[0]


@pytest.mark.usefixtures("three")
def test_a_case_whose_windows_take_too_long_fails_alone(
    run: Run, ensemble_of: Callable[..., Ensemble], pointwise: Callable[..., nn.Module]
) -> None:
    started: list[str] = []
    pause = threading.Event()
    watcher = Watcher(
        on_start=started.append,
        on_window=lambda *_: pause.wait(0.6 if started[-1] == NAMES[1] else 0) and None,
    )
    outcomes = run(time_limit_s=0.5, watcher=watcher, ensemble=ensemble_of([pointwise(), pointwise()]))
    assert _states(outcomes) == [State.DONE, State.FAILED, State.DONE]
    assert "took too long; found 1 of 2 windows done, expected at most 0.5 s" in outcomes[1].error


class _OfLittleRoom(nn.Module):
    """A network whose device has memory for `room` windows at a time."""

    def __init__(self, network: nn.Module, room: int) -> None:
        super().__init__()
        self.network, self.room, self.multiple = network, room, 1
        self.seen: list[int] = []

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(windows))
        if len(windows) > self.room:
            raise torch.OutOfMemoryError("tried to allocate 20 GiB")
        return self.network(windows)


def test_the_batch_is_halved_until_it_fits_and_stays_so(
    tmp_path: Path,
    make_case: Callable[..., Path],
    run: Run,
    ensemble_of: Callable[..., Ensemble],
    pointwise: Callable[..., nn.Module],
) -> None:
    for seed, name in enumerate(NAMES[:2]):
        make_case(tmp_path / "in", name, seed=seed, shape=(40, 40, 40))
    small = _OfLittleRoom(pointwise(), room=2)
    outcomes = run(batch=8, ensemble=ensemble_of([small]))
    assert _states(outcomes) == [State.DONE] * 2
    assert outcomes[0].notes[:2] == (
        "cpu ran out of memory with 8 windows at a time; 4 from here on",
        "cpu ran out of memory with 4 windows at a time; 2 from here on",
    )
    assert not any("memory" in note for note in outcomes[1].notes)
    assert small.seen == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
    masks = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    run(batch=2, again=True, ensemble=ensemble_of([pointwise()]))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == masks


@pytest.mark.usefixtures("three")
def test_a_window_that_does_not_fit_alone_fails_its_case(
    run: Run, ensemble_of: Callable[..., Ensemble], pointwise: Callable[..., nn.Module]
) -> None:
    outcomes = run(ensemble=ensemble_of([_OfLittleRoom(pointwise(), room=0)]))
    assert _states(outcomes) == [State.FAILED] * 3
    assert "a: cpu ran out of memory on windows of 32 x 32 x 32" in outcomes[0].error
