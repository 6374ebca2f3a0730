"""Watching an input that is still being filled: when a case is taken, what is reported of others, how it ends."""

import itertools
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from htcnns.errors import InputError, SettingsError
from htcnns.files.cases import search
from htcnns.files.claims import Claims
from htcnns.labels import GLIOMA
from htcnns.reports.outcome import Outcome, State
from htcnns.runs import watch as watching
from htcnns.runs.course import run
from htcnns.runs.plan import outputs_of, plan_run
from htcnns.runs.settings import RunSettings
from htcnns.runs.shard import Shard
from htcnns.runs.watch import Arrivals
from htcnns.runs.watcher import Watcher

NAMES = ("BraTS-GLI-00001-000", "BraTS-GLI-00002-000", "BraTS-GLI-00003-000")
LOOK_S = 0.05


@pytest.fixture
def archive(tmp_path: Path, make_case: Callable[..., Path]) -> Path:
    """Three cases elsewhere, and an empty input."""
    for seed, name in enumerate(NAMES):
        make_case(tmp_path / "archive", name, seed=seed)
    (tmp_path / "in").mkdir()
    return tmp_path / "archive"


@pytest.fixture
def watch(tmp_path: Path, tiny_weights: Path) -> Callable[..., list[Outcome]]:
    """A function that watches `in` until it is idle, with one tiny member."""

    def watch(*, on_outcome: Callable[[Outcome], object] = bool, watcher: Watcher | None = None, **settings: object):
        how = {"weights": tiny_weights, "members": ("unet",), "device": "cpu", "precision": "fp32"}
        how |= {"watch_s": LOOK_S, "until_idle_s": 4 * LOOK_S} | settings
        plan = plan_run(tmp_path / "in", tmp_path / "out", RunSettings(**how))
        return run(plan, watcher=watcher or Watcher(), on_outcome=on_outcome)

    return watch


def _bring(archive: Path, name: str, *, without: str = "") -> Path:
    """Copy a case into the input, perhaps without one of its sequences."""
    ignore = shutil.ignore_patterns(f"*-{without}.nii.gz") if without else None
    return shutil.copytree(archive / name, archive.parent / "in" / name, ignore=ignore, dirs_exist_ok=True)


def _states(outcomes: list[Outcome]) -> dict[str, State]:
    return {outcome.case: outcome.state for outcome in outcomes}


def test_kept_memory_is_given_back_when_nothing_comes(
    archive: Path, watch: Callable[..., list[Outcome]], monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back: list[int] = []
    done: list[Outcome] = []
    monkeypatch.setattr(watching, "give_back_freed_memory", lambda: given_back.append(len(done)))
    _bring(archive, NAMES[0])
    watch(on_outcome=done.append)
    assert set(given_back) == {1}


def test_cases_that_come_while_others_are_segmented_are_taken_too(
    tmp_path: Path, archive: Path, watch: Callable[..., list[Outcome]]
) -> None:
    _bring(archive, NAMES[0])
    following = dict(itertools.pairwise(NAMES))
    told: list[str] = []

    def bring_next(outcome: Outcome) -> None:
        told.append(outcome.case)
        if outcome.case in following:
            _bring(archive, following[outcome.case])

    outcomes = watch(on_outcome=bring_next)
    assert told == list(NAMES)
    assert _states(outcomes) == dict.fromkeys(NAMES, State.DONE)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{name}.nii.gz" for name in NAMES]


def test_an_empty_input_is_watched_and_a_missing_one_is_refused(
    tmp_path: Path, watch: Callable[..., list[Outcome]]
) -> None:
    with pytest.raises(InputError, match="in: does not exist"):
        watch()
    (tmp_path / "in").mkdir()
    assert watch() == []


def test_wrong_names_in_an_input_are_refused_at_first_and_reported_once_later(
    tmp_path: Path, archive: Path, watch: Callable[..., list[Outcome]]
) -> None:
    wrong = tmp_path / "in" / "P7" / "scan.nii.gz"
    _bring(archive, NAMES[0])
    said: list[str] = []

    def replace_by_wrong(_: Outcome) -> None:
        shutil.rmtree(tmp_path / "in" / NAMES[0])
        wrong.parent.mkdir()
        wrong.write_bytes(b"")

    watch(on_outcome=replace_by_wrong, watcher=Watcher(on_pending=said.append))
    assert len(said) == 1
    assert "in: no case; found 1 NIfTI (such as scan.nii.gz: " in said[0]
    with pytest.raises(InputError, match=r"in: no case; found 1 NIfTI \(such as scan\.nii\.gz: "):
        watch()
    wrong.unlink()
    assert watch(watcher=Watcher(on_pending=said.append)) == []
    assert len(said) == 1


def test_a_case_that_lacks_a_sequence_is_reported_once_and_fails_only_when_the_watch_ends(
    archive: Path, watch: Callable[..., list[Outcome]]
) -> None:
    _bring(archive, NAMES[0], without="t2f")
    said: list[str] = []
    (outcome,) = watch(watcher=Watcher(on_pending=said.append))
    assert said == [outcome.error]
    assert outcome.error.startswith(f"{NAMES[0]}: t2f missing; found t1n, t1c, t2w")


def test_a_case_that_is_completed_is_taken(archive: Path, watch: Callable[..., list[Outcome]]) -> None:
    _bring(archive, NAMES[0], without="t2f")
    complete = Watcher(on_pending=lambda _: _bring(archive, NAMES[0]) and None)
    assert _states(watch(watcher=complete)) == {NAMES[0]: State.DONE}


def test_an_unclear_case_stops_nothing_and_fails_when_the_watch_ends(
    archive: Path, watch: Callable[..., list[Outcome]]
) -> None:
    folder = _bring(archive, NAMES[0])
    shutil.copy(folder / f"{NAMES[0]}-t1c.nii.gz", folder / f"{NAMES[0]}-t1c.nii")
    _bring(archive, NAMES[1])
    assert _states(watch()) == {NAMES[0]: State.FAILED, NAMES[1]: State.DONE}


@pytest.mark.slow
def test_two_cases_for_one_mask_fail_and_the_others_are_done(
    tmp_path: Path, archive: Path, make_case: Callable[..., Path], watch: Callable[..., list[Outcome]]
) -> None:
    _bring(archive, NAMES[0])
    make_case(tmp_path / "in", "00495", naming="free")
    make_case(tmp_path / "elsewhere", "BraTS2021_00495", naming="BraTS 2021-22")
    for path in (tmp_path / "elsewhere" / "BraTS2021_00495").iterdir():
        shutil.copy(path, tmp_path / "in")
    outcomes = watch(short_names=True)
    assert _states(outcomes) == {NAMES[0]: State.DONE, "00495": State.FAILED, "BraTS2021_00495": State.FAILED}
    assert all("two cases would write one mask" in each.error for each in outcomes if each.state is State.FAILED)


def test_a_failed_case_whose_files_change_is_tried_again(archive: Path, watch: Callable[..., list[Outcome]]) -> None:
    path = _bring(archive, NAMES[0]) / f"{NAMES[0]}-t2w.nii.gz"
    path.write_bytes(path.read_bytes()[:1000])
    states: list[State] = []

    def mend(outcome: Outcome) -> None:
        states.append(outcome.state)
        _bring(archive, NAMES[0])

    assert _states(watch(on_outcome=mend)) == {NAMES[0]: State.DONE}
    assert states == [State.FAILED, State.DONE]


@pytest.mark.slow
def test_a_finished_case_whose_files_are_touched_is_kept_and_reported_once(
    archive: Path, watch: Callable[..., list[Outcome]]
) -> None:
    path = _bring(archive, NAMES[0]) / f"{NAMES[0]}-t2w.nii.gz"
    told: list[State] = []

    def touch(outcome: Outcome) -> None:
        told.append(outcome.state)
        os.utime(path, (0, 0))

    assert _states(watch(on_outcome=touch)) == {NAMES[0]: State.DONE}
    assert told == [State.DONE]
    assert _states(watch(on_outcome=touch)) == {NAMES[0]: State.KEPT}  # by the next run


def test_a_stop_ends_a_watch_and_leaves_waiting_cases_not_started(
    archive: Path, watch: Callable[..., list[Outcome]]
) -> None:
    _bring(archive, NAMES[0])
    _bring(archive, NAMES[1], without="t2f")
    done: list[Outcome] = []
    outcomes = watch(on_outcome=done.append, watcher=Watcher(should_stop=lambda: bool(done)), until_idle_s=None)
    assert _states(outcomes) == {NAMES[0]: State.DONE, NAMES[1]: State.NOT_STARTED}
    assert [outcome.case for outcome in done] == [NAMES[0]]


def test_a_finished_case_whose_files_change_before_a_stop_is_reported_as_done(
    tmp_path: Path, archive: Path, watch: Callable[..., list[Outcome]]
) -> None:
    path = _bring(archive, NAMES[0]) / f"{NAMES[0]}-t2w.nii.gz"
    _bring(archive, NAMES[1])
    done: list[str] = []

    def touch_and_break(outcome: Outcome) -> None:
        done.append(outcome.case)
        os.utime(path, (0, 0))
        (tmp_path / "in" / NAMES[1] / f"{NAMES[1]}-t1c.nii.gz").unlink(missing_ok=True)

    stop = Watcher(on_pending=lambda _: done.append("pending") or None, should_stop=lambda: "pending" in done)
    outcomes = watch(on_outcome=touch_and_break, watcher=stop, until_idle_s=None)
    assert _states(outcomes)[NAMES[0]] is State.DONE


def test_a_stop_ends_a_watch_before_the_next_look(watch: Callable[..., list[Outcome]], archive: Path) -> None:
    _bring(archive, NAMES[0])
    stop = threading.Event()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    assert _states(watch(watch_s=600.0, watcher=Watcher(should_stop=stop.is_set), until_idle_s=None)) == {
        NAMES[0]: State.NOT_STARTED
    }


def test_an_input_that_is_gone_for_a_while_is_reported_once_and_waited_for(
    tmp_path: Path, archive: Path, watch: Callable[..., list[Outcome]]
) -> None:
    _bring(archive, NAMES[0])
    said: list[str] = []

    def come_back(sentence: str) -> None:
        said.append(sentence)
        (tmp_path / "away").rename(tmp_path / "in")
        _bring(archive, NAMES[1])

    def leave(outcome: Outcome) -> None:
        if outcome.case == NAMES[0]:
            (tmp_path / "in").rename(tmp_path / "away")

    outcomes = watch(on_outcome=leave, watcher=Watcher(on_pending=come_back))
    assert _states(outcomes) == dict.fromkeys(NAMES[:2], State.DONE)
    assert len(said) == 1
    assert f"{tmp_path}/in: does not exist" in said[0]


def test_a_watch_takes_only_the_listed_cases_of_its_shard(
    tmp_path: Path, archive: Path, watch: Callable[..., list[Outcome]]
) -> None:
    for name in NAMES:
        _bring(archive, name)
    (tmp_path / "list.txt").write_text("\n".join(NAMES[:2]))
    shares = [watch(shard=Shard(n, 2), case_list=tmp_path / "list.txt") for n in range(2)]
    assert sorted(outcome.case for share in shares for outcome in share) == list(NAMES[:2])


def test_a_case_claimed_by_another_run_is_left_to_it(
    tmp_path: Path, archive: Path, watch: Callable[..., list[Outcome]]
) -> None:
    _bring(archive, NAMES[0])
    (tmp_path / "out").mkdir()
    stop: list[int] = []
    with Claims() as others:
        assert others.take(tmp_path / "out" / f"{NAMES[0]}.nii.gz")
        outcomes = watch(watcher=Watcher(on_wait=stop.append, should_stop=lambda: bool(stop)))
    assert (_states(outcomes), stop) == ({NAMES[0]: State.NOT_STARTED}, [1])


def test_a_case_is_ready_at_the_second_look_at_the_same_files(tmp_path: Path, archive: Path) -> None:
    """No clock is used, as the times of copied files may be old or those of another machine."""
    path = _bring(archive, NAMES[0]) / f"{NAMES[0]}-t2f.nii.gz"
    arrivals = Arrivals(most_missing=0, on_pending=lambda _: None)

    def look() -> list:
        return [outputs_of(case, tmp_path, RunSettings(), GLIOMA) for case in search(tmp_path / "in").cases]

    sizes = []
    for n in (3, 2, 1):
        path.write_bytes(bytes(n))
        sizes.append(arrivals.take(look))
    assert sizes == [([], True)] * 3
    ready, has_news = arrivals.take(look)
    assert ([each.case.name for each in ready], has_news) == ([NAMES[0]], False)
    assert arrivals.take(look) == ([], False)


def test_only_a_watch_can_end_when_it_is_idle() -> None:
    with pytest.raises(SettingsError, match="until_idle_s: has no effect on a run that ends by itself"):
        RunSettings(until_idle_s=5)
