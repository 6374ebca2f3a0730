"""What reaches a terminal."""

import io
import sys

import pytest

from htcnns.doors.terminal import one_line, steady_output


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


def test_lines_whose_reader_has_gone_go_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    led: list[object] = []
    stream = _Gone()
    monkeypatch.setattr("htcnns.doors.terminal.lead_nowhere", led.append)
    monkeypatch.setattr("sys.stdout", stream)
    with steady_output():
        print("line", flush=True)
    assert set(map(id, led)) == {id(stream)}
    assert sys.stdout is stream
