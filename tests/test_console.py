"""What a run says when it begins."""

from pathlib import Path

import pytest
import torch

from htcnns.console import Teller
from htcnns.runs.ensemble import Ensemble
from htcnns.runs.folder import Request, Start

NOTE = "on the CPU instead: cuda:0: cannot be used (no kernel image). Free the device or use --device cpu."


@pytest.mark.parametrize(("note", "n_lines"), [("", 1), (NOTE, 2)])
def test_a_device_that_was_not_wanted_is_said_at_once(
    capsys: pytest.CaptureFixture[str], note: str, n_lines: int
) -> None:
    ensemble = Ensemble((), {}, torch.device("cpu"), torch.float32, note=note)
    Teller(Start((), (), ensemble, ())).greet(Request(Path("in"), Path("out")))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == n_lines
    assert lines[1:] == [note][: n_lines - 1]
