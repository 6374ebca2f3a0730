"""What reaches a terminal."""

import pytest

from htcnns.doors.terminal import one_line


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
