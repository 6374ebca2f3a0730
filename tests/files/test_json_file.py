"""JSON files are read as plain data, and everything else is refused with the file's path."""

from pathlib import Path

import pytest

from htcnns.errors import InputError
from htcnns.files.json_file import read_json


def test_json_is_read_as_plain_data(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": [1, 2.5, "\u00e9", null, true]}', encoding="utf-8")
    assert read_json(tmp_path / "x.json") == {"a": [1, 2.5, "\u00e9", None, True]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
        (b"\xff\xfe", "codec can't decode"),
        (b"[NaN]", "NaN is not a JSON number"),
        (b"[-Infinity]", "-Infinity is not a JSON number"),
        (b"[" * 100_000, "recursion"),
        (b"[" * 33 + b"]" * 33, "nested more than 32 deep"),
        (b"[1e999]", "1e999 is too large a number"),
        (b"[-1e999]", "-1e999 is too large a number"),
        (b"1" * 400, "too large a number"),
        (b"[" + b"1," * 2**21 + b"1]", "more than 2.1 million values"),
    ],
    ids=["empty", "cut", "no text", "nan", "infinity", "very deep", "deep", "large", "small", "long", "many"],
)
def test_invalid_json_is_refused_with_its_path(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"{tmp_path}/x\.json: cannot be read as JSON \(.*{says}.*Restore the file"):
        read_json(tmp_path / "x.json")


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.json: cannot be read \(No such file"):
        read_json(tmp_path / "x.json")
