"""The demo with the shipped members: what is found is held against what is known."""

from pathlib import Path

import pytest

from htcnns.errors import OutputError
from htcnns.runs.batch import DONE, Watcher
from htcnns.runs.demo import compare, make_demo
from htcnns.runs.folder import prepare, run


@pytest.mark.slow
def test_the_shipped_members_find_the_phantoms_tumour(tmp_path: Path) -> None:
    phantom, request = make_demo(tmp_path)
    outcomes = run(request, prepare(request), watcher=Watcher())
    said: list[str] = []
    assert [outcome.state for outcome in outcomes] == [DONE]
    assert compare(phantom, outcomes[0], tell=said.append)["WT"] >= 0.5
    assert [line.split()[0] for line in said] == ["region", "WT", "TC", "ET"]
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == [f"{outcomes[0].case}.nii.gz"]
    assert (tmp_path / "previews" / f"{outcomes[0].case}.png").stat().st_size > 10_000


def test_a_folder_that_cannot_be_made_is_said_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(**_: object) -> None:
        raise AssertionError("the phantom was made first")

    monkeypatch.setattr("htcnns.runs.demo.make_phantom", never)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/demo/input/.*: cannot be written by user"):
        make_demo(tmp_path / "file" / "demo")
