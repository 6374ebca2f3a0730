"""The log of a run: one event per line, strict JSON, from the start to the end, whatever ends it."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from htcnns.errors import OutputError, SettingsError
from htcnns.files import atomic
from htcnns.reports.outcome import Outcome
from htcnns.runs.course import run
from htcnns.runs.plan import plan_run
from htcnns.runs.settings import RunSettings
from htcnns.runs.watcher import Watcher

FIRST, SECOND = "BraTS-GLI-00001-000", "BraTS-GLI-00002-000"


@pytest.fixture
def logged(tmp_path: Path, make_case: Callable[..., Path], tiny_weights: Path) -> Callable[..., list[Outcome]]:
    """A function that runs two cases, the second of which lacks its t2f, with a log and further settings."""
    for seed, name in enumerate((FIRST, SECOND)):
        make_case(tmp_path / "in", name, seed=seed)
    next((tmp_path / "in" / SECOND).glob("*t2f*")).unlink()

    def logged(*, watcher: Watcher | None = None, **settings: object) -> list[Outcome]:
        how = {"weights": tiny_weights, "members": ("unet",), "device": "cpu", "precision": "fp32"}
        how |= {"log": tmp_path / "log.jsonl"} | settings
        plan = plan_run(tmp_path / "in", tmp_path / "out", RunSettings(**how))
        return run(plan, watcher=watcher or Watcher(), on_outcome=bool)

    return logged


def _refuse(text: str) -> None:
    raise ValueError(text)


def _events(path: Path) -> list[dict]:
    return [json.loads(line, parse_constant=_refuse) for line in path.read_text(encoding="ascii").splitlines()]


def test_a_run_is_logged_from_its_start_to_its_end(
    tmp_path: Path, tiny_weights: Path, logged: Callable[..., list[Outcome]]
) -> None:
    done, failed = logged()
    events = _events(tmp_path / "log.jsonl")
    assert [event["event"] for event in events] == ["run start", *["case start", "case end"] * 2, "run end"]
    start, _, first, _, second, end = events
    assert (start["n_cases"], start["device"], start["settings"]["fusion"]) == (2, "cpu", "staple")
    assert (start["settings"]["weights"], list(start["members"])) == (str(tiny_weights), ["unet"])
    assert [event["case"] for event in events[1:5]] == [FIRST, FIRST, SECOND, SECOND]
    assert (first["state"], first["seconds"], first["volumes_ml"]) == ("done", done.seconds, done.volumes_ml)
    assert (first["mask"], first["error"], first["notes"]) == (str(done.mask), "", list(done.notes))
    assert (second["state"], second["error"], second["mask"]) == ("failed", failed.error, None)
    assert end["states"] == {"done": 1, "kept": 0, "failed": 1, "not started": 0}
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)


def test_the_next_run_continues_the_log_under_its_own_number(
    tmp_path: Path, logged: Callable[..., list[Outcome]]
) -> None:
    logged()
    logged()
    events = _events(tmp_path / "log.jsonl")
    assert [event["event"] for event in events].count("run start") == 2
    assert len({event["run"] for event in events}) == 2
    assert [event["state"] for event in events if event.get("case") == FIRST and "state" in event] == ["done", "kept"]


def test_a_stop_is_logged_with_the_number_of_cases_not_started(
    tmp_path: Path, logged: Callable[..., list[Outcome]]
) -> None:
    logged(watcher=Watcher(should_stop=lambda: True))
    assert _events(tmp_path / "log.jsonl")[-1]["states"]["not started"] == 2


def test_the_error_that_ends_a_run_is_logged(
    tmp_path: Path, logged: Callable[..., list[Outcome]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OutputError):
        logged()
    end = _events(tmp_path / "log.jsonl")[-1]
    assert end["event"] == "run end"
    assert f"cannot write {FIRST}.nii.gz (No space left on device)" in end["error"]


@pytest.mark.parametrize(
    ("log", "settings", "says"),
    [
        ("out/log.jsonl", {}, "log: .*lies in the output folder"),
        ("report.json", {"report": "report.json"}, "report: .*is the log, and the report would overwrite it"),
    ],
    ids=["among the masks", "the report"],
)
def test_a_log_goes_neither_among_masks_nor_into_the_report(
    tmp_path: Path, logged: Callable[..., list[Outcome]], log: str, settings: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        logged(log=tmp_path / log, **{name: tmp_path / path for name, path in settings.items()})
    assert not (tmp_path / log).exists()
