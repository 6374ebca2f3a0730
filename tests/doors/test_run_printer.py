"""What a run says when it begins."""

from pathlib import Path

import pytest
import torch

from htcnns.doors.run_printer import RunPrinter
from htcnns.runs.ensemble import Ensemble
from htcnns.runs.plan import RunPlan
from htcnns.runs.settings import RunSettings

NOTE = "on the CPU instead: cuda:0: cannot be used (no kernel image). Free the device or use device cpu."


@pytest.mark.parametrize(("note", "n_lines"), [("", 1), (NOTE, 2)])
def test_a_device_that_was_not_wanted_is_said_at_once(
    capsys: pytest.CaptureFixture[str], note: str, n_lines: int
) -> None:
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
