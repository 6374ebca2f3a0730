"""What a run prints when it begins, and when it starts to keep freed memory."""

from pathlib import Path

import pytest
import torch

from htcnns.doors import run_printer
from htcnns.doors.run_printer import RunPrinter
from htcnns.errors import InputError
from htcnns.runs.ensemble import Ensemble
from htcnns.runs.plan import RunPlan
from htcnns.runs.settings import RunSettings

NOTE = "on the CPU instead: cuda:0: cannot be used (no kernel image). Free the device or use device cpu."


@pytest.mark.parametrize(("note", "n_lines"), [("", 1), (NOTE, 2)])
def test_a_fallback_device_is_reported_at_once(capsys: pytest.CaptureFixture[str], note: str, n_lines: int) -> None:
    ensemble = Ensemble(members=(), networks={}, device=torch.device("cpu"), precision=torch.float32, note=note)
    plan = RunPlan(
        input=Path("in"),
        output=Path("out"),
        settings=RunSettings(),
        cases=(),
        not_used=(),
        ensemble=ensemble,
        swept=(),
    )
    RunPrinter(plan).greet()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == n_lines
    assert lines[1:] == [note][: n_lines - 1]


def test_freed_memory_is_kept_from_before_the_run_is_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    monkeypatch.setattr(run_printer, "keep_freed_memory", lambda: calls.append("keep"))
    with pytest.raises(InputError):
        run_printer.run_and_print(tmp_path / "none", tmp_path / "out", RunSettings())
    assert calls == ["keep"]
