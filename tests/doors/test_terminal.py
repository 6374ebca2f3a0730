"""What reaches a terminal."""

import errno
import io
import sys

import pytest

from htcnns.doors.terminal import one_line, rough_time, steady_output


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("BraTS [red] café 脚", "BraTS [red] café 脚"),
        ("two\nlines\r\t", "two\\nlines\\r\\t"),
        ("\x1b[2J\x9b\x7f", "\\x1b[2J\\x9b\\x7f"),
        ("a\u2028b", "a\\u2028b"),
        ("caf\udce9", "caf\udce9"),
        ("a\u202eb\u200bc", "a\\u202eb\\u200bc"),
    ],
    ids=["harmless", "line ends", "commands", "line separator", "no text", "turned round"],
)
def test_control_characters_become_escapes_and_others_stay(text: str, shown: str) -> None:
    assert one_line(text) == shown


class _Gone(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


def test_lines_go_nowhere_once_their_reader_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    led: list[object] = []
    stream = _Gone()
    monkeypatch.setattr("htcnns.doors.terminal.lead_nowhere", led.append)
    monkeypatch.setattr("sys.stdout", stream)
    with steady_output():
        print("line", flush=True)
    assert set(map(id, led)) == {id(stream)}
    assert sys.stdout is stream


class _Full(io.StringIO):
    """A stream into a file on a full disk."""

    def flush(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_behind_stdout_does_not_end_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    led: list[object] = []
    monkeypatch.setattr("htcnns.doors.terminal.lead_nowhere", led.append)
    monkeypatch.setattr("sys.stdout", _Full())
    with steady_output():
        print("line")
    assert len(led) == 1


def test_a_run_without_any_streams_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    with steady_output():
        print("line")
    assert (sys.stdout, sys.stderr) == (None, None)


@pytest.mark.parametrize(
    ("seconds", "text"), [(60, "1 min"), (7000, "117 min"), (7200, "2.0 h"), (100_000, "27.8 h"), (10**6, "11.6 d")]
)
def test_a_rough_time_has_one_unit(seconds: float, text: str) -> None:
    assert rough_time(seconds) == text
