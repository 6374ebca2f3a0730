"""What an evaluation prints, and what it refuses before it scores."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from htcnns.files.nifti import write_case_file

Command = Callable[..., object]


@pytest.fixture
def evaluate(htcnns: Command, tmp_path: Path) -> Command:
    """A function that evaluates a perfect prediction of one case, whose name looks like markup and an emoji's code."""
    label_map = np.zeros((20, 20, 20), np.uint8)
    label_map[4:10, 4:10, 4:10] = 3
    for side in ("predictions", "truths"):
        (tmp_path / side).mkdir()
        write_case_file(tmp_path / side / "x[red] a:skull:b.nii.gz", label_map, np.diag([-1.0, -1.0, 1.0, 1.0]))
    return lambda *more: htcnns("evaluate", tmp_path / "predictions", tmp_path / "truths", *more)


def test_a_case_s_name_is_not_read_as_markup_or_emoji(tmp_path: Path, evaluate: Command) -> None:
    (tmp_path / "truths" / "c:skull:d.nii.gz").write_bytes(
        (tmp_path / "truths" / "x[red] a:skull:b.nii.gz").read_bytes()
    )
    said = evaluate()
    assert (said.code, said.err) == (0, "")
    assert "x[red] a:skull:b" in said.out
    assert "c:skull:d" in said.out  # in a sentence below the tables


@pytest.mark.parametrize("flag", ["--json", "--csv", "--markdown"])
@pytest.mark.parametrize(
    ("place", "says"),
    [("file/scores", "cannot be written by user"), ("truths", "is a folder; expected the name of a file")],
    ids=["below a file", "a folder"],
)
def test_a_place_that_cannot_be_written_is_reported_before_scoring(
    tmp_path: Path, evaluate: Command, monkeypatch: pytest.MonkeyPatch, flag: str, place: str, says: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("htcnns.doors.score_printer.evaluate_folders", lambda *_: pytest.fail("scored"))
    said = evaluate(flag, tmp_path / place)
    assert (said.code, said.out) == (6, "")
    assert says in said.err


def test_a_bad_file_of_the_last_method_is_reported_before_scoring(
    tmp_path: Path, evaluate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x[red] a:skull:b.nii.gz").write_bytes(b"no longer packed")
    monkeypatch.setattr("htcnns.doors.score_printer.evaluate_folders", lambda *_: pytest.fail("scored"))
    said = evaluate("--rank", tmp_path / "other")
    assert (said.code, said.out) == (3, "")
    assert "named .gz but is not gzip" in said.err


@pytest.mark.parametrize("flag", ["--json", "--csv", "--markdown"])
def test_a_table_never_overwrites_a_mask(tmp_path: Path, evaluate: Command, flag: str) -> None:
    truth = tmp_path / "truths" / "x[red] a:skull:b.nii.gz"
    before = truth.read_bytes()
    said = evaluate(flag, truth)
    assert (said.code, said.out) == (2, "")
    assert "is the name of a mask; expected that of a table" in said.err
    assert truth.read_bytes() == before


def test_two_tables_in_one_file_are_refused(tmp_path: Path, evaluate: Command) -> None:
    said = evaluate("--json", tmp_path / "new" / "scores", "--csv", tmp_path / "new" / ".." / "new" / "scores")
    assert (said.code, said.out) == (2, "")
    assert not (tmp_path / "new").exists()
    assert said.err.startswith("htcnns: --csv: ")
    assert said.err.endswith("scores: is also the file for --json; expected one file for each. Give another name.\n")


@pytest.mark.parametrize("flag", ["--json", "--csv", "--markdown"])
def test_a_table_never_replaces_a_pipe_and_follows_a_link(tmp_path: Path, evaluate: Command, flag: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    said = evaluate(flag, tmp_path / "pipe")
    assert (said.code, said.out, (tmp_path / "pipe").is_fifo()) == (6, "", True)
    (tmp_path / "store").mkdir()
    (tmp_path / "link").symlink_to("store/table")
    assert evaluate(flag, tmp_path / "link").code == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "store" / "table").stat().st_size > 0


def test_a_table_never_overwrites_a_mask_through_a_link(tmp_path: Path, evaluate: Command) -> None:
    truth = tmp_path / "truths" / "x[red] a:skull:b.nii.gz"
    before = truth.read_bytes()
    (tmp_path / "table.csv").symlink_to(truth)
    said = evaluate("--csv", tmp_path / "table.csv")
    assert (said.code, said.out, truth.read_bytes()) == (2, "", before)


def test_files_are_written_even_if_nobody_reads_the_tables(
    tmp_path: Path, evaluate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with `| head -1`, the reader is gone when the first line is printed."""

    def gone(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("htcnns.doors.score_printer._print", gone)
    with pytest.raises(BrokenPipeError):
        evaluate("--json", tmp_path / "y.json", "--csv", tmp_path / "y.csv", "--markdown", tmp_path / "y.md")
    assert [path.name for path in sorted(tmp_path.glob("y.*"))] == ["y.csv", "y.json", "y.md"]


def test_a_mask_with_unreadable_gzip_is_reported_in_one_line(tmp_path: Path, evaluate: Command) -> None:
    path = tmp_path / "predictions" / "x[red] a:skull:b.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:3] + b"\x10" + whole[4:10] + b"A" * 600_000 + b"\0" + whole[10:])
    said = evaluate()
    assert (said.code, said.out) == (3, "")
    assert "damaged" in said.err
    assert len(said.err.splitlines()) == 1
