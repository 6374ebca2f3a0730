"""The demo with the shipped members: what is found is held against what is known."""

import re
from pathlib import Path

import pytest

from htcnns.doors.demo import CASE, segment_demo
from htcnns.errors import OutputError


@pytest.mark.slow
def test_the_shipped_members_find_the_phantoms_tumour(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert segment_demo(tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[next(n for n, line in enumerate(lines) if line.startswith("region")) :]
    assert [line.split()[0] for line in table] == ["region", "WT", "TC", "ET", "mask", "picture", "report"]
    assert float(re.findall(r"[\d.]+", table[1])[-1]) >= 0.5
    assert [path.name for path in (tmp_path / "masks").iterdir()] == [f"{CASE}.nii.gz"]
    assert (tmp_path / "previews" / f"{CASE}.png").stat().st_size > 10_000


def test_a_folder_that_cannot_be_made_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(**_: object) -> None:
        raise AssertionError("the phantom was made first")

    monkeypatch.setattr("htcnns.doors.demo.make_phantom", never)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/demo/input/.*: cannot be written by user"):
        segment_demo(tmp_path / "file" / "demo")
