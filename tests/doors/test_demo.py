"""The demo with the shipped members: what they find is compared with what is known."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from htcnns.doors.demo import CASE, segment_demo
from htcnns.errors import OutputError
from htcnns.files.cases import find_cases
from htcnns.reports.outcome import Outcome


@pytest.mark.slow
def test_the_shipped_members_find_the_phantoms_tumour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert segment_demo(tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[next(n for n, line in enumerate(lines) if line.startswith("region")) :]
    assert [line.split()[0] for line in table] == ["region", "WT", "TC", "ET", "mask", "picture", "report"]
    assert float(re.findall(r"[\d.]+", table[1])[-1]) >= 0.5
    assert [path.name for path in (tmp_path / "masks").iterdir()] == [f"{CASE}.nii.gz"]
    assert (tmp_path / "previews" / f"{CASE}.png").stat().st_size > 10_000


def test_the_demo_segments_only_its_own_case(
    tmp_path: Path, make_case: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmented: list[str] = []

    def note(folder: Path, *_: object) -> tuple[list[Outcome], int]:
        segmented.extend(case.name for case in find_cases(folder))
        return [], signal.SIGINT

    monkeypatch.setattr("htcnns.doors.demo.write_demo_case", lambda folder: make_case(folder, CASE))
    monkeypatch.setattr("htcnns.doors.demo.run_and_print", note)
    make_case(tmp_path / "input", "BraTS-GLI-00001-000")
    assert (segment_demo(tmp_path), segmented) == (130, [CASE])


def test_a_folder_that_cannot_be_made_is_reported_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(**_: object) -> None:
        raise AssertionError("the phantom was made first")

    monkeypatch.setattr("htcnns.doors.demo.make_phantom", never)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/demo/input/.*: cannot be written by user"):
        segment_demo(tmp_path / "file" / "demo")
