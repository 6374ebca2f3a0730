"""Logs of JSON lines hold whole lines, are continued by later runs, and never replace another file."""

import errno
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from htcnns.errors import OutputError
from htcnns.files.line_log import LineLog, require_log_place
from htcnns.reports.strict_json import json_line


def _line(event: object) -> str:
    return json_line({"event": str(event)})


def _events(path: Path) -> list[str]:
    return [json.loads(line)["event"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_can_be_read_as_soon_as_it_is_added(tmp_path: Path) -> None:
    with LineLog(tmp_path / "log") as log:
        log.add(_line("a\nb"))
        assert _events(tmp_path / "log") == ["a\nb"]
        log.add(_line("c"))
        assert _events(tmp_path / "log") == ["a\nb", "c"]


@pytest.mark.parametrize(
    ("before", "after"),
    [("", []), (_line("old"), ["old"]), (_line("old") + _line("cut")[:-5], ["old"]), (_line("cut")[:7], [])],
    ids=["empty", "whole", "cut", "cut first"],
)
def test_a_log_is_continued_and_what_was_cut_off_is_removed(tmp_path: Path, before: str, after: list[str]) -> None:
    path = tmp_path / "log"
    path.write_text(before)
    require_log_place(path)
    with LineLog(path) as log:
        log.add(_line("new"))
    assert _events(path) == [*after, "new"]


def test_lines_of_several_logs_in_one_file_do_not_mix(tmp_path: Path) -> None:
    path, texts = tmp_path / "log", [f"{n}" * 3000 for n in range(4)]

    def fill(text: str) -> None:
        with LineLog(path) as log:
            for _ in range(100):
                log.add(_line(text))

    threads = [threading.Thread(target=fill, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(_events(path)) == sorted(texts * 100)


def test_a_line_that_another_log_is_writing_is_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write, opened = tmp_path / "log", os.write, threading.Event()

    def write_in_two_steps(number: int, content: bytes) -> int:
        if len(content) > 100:  # the first part of the line is in the file, the rest is not
            write(number, content[:60])
            other.start()
            assert not opened.wait(0.3)
            return 60
        return write(number, content)

    def open_another() -> None:
        with LineLog(path):
            opened.set()

    other = threading.Thread(target=open_another)
    with LineLog(path) as log:
        monkeypatch.setattr(os, "write", write_in_two_steps)
        log.add(_line("x" * 100))
    other.join()
    assert _events(path) == ["x" * 100]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.write_text("my notes"), "is not a log; expected a log of earlier runs"),
        (lambda path: path.write_text('{"case": 1}\n'), "is not a log"),
        (Path.mkdir, "is a folder"),
        (os.mkfifo, "is a device, a pipe or a socket"),
        (lambda path: path.symlink_to("/dev/null"), "is a device, a pipe or a socket"),
    ],
    ids=["notes", "other JSON", "folder", "pipe", "device"],
)
def test_what_is_not_a_log_is_refused(tmp_path: Path, make: Callable[[Path], object], says: str) -> None:
    make(tmp_path / "log")
    with pytest.raises(OutputError, match=says) as refused:
        require_log_place(tmp_path / "log")
    assert refused.value.setting == "log"


def test_a_full_disk_is_reported_and_the_next_run_removes_the_partial_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, write = tmp_path / "log", os.write
    room = [len(_line("old")) + 5]

    def write_what_fits(number: int, content: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(number, content[: room[0]])
        room[0] -= written
        return written

    with LineLog(path) as log, monkeypatch.context() as patch:
        patch.setattr(os, "write", write_what_fits)
        log.add(_line("old"))
        with pytest.raises(OutputError, match=r"log: .*log: cannot be written \(No space left on device\)"):
            log.add(_line("new"))
    assert path.read_text() == _line("old") + _line("new")[:5]
    with LineLog(path):
        assert _events(path) == ["old"]
