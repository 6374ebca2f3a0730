"""Whole files: whatever is not a regular file is refused before anything is read."""

import os
from pathlib import Path

import pytest

from htcnns.errors import InputError
from htcnns.files.regular_file import read_regular


def test_a_file_and_a_link_to_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    assert read_regular(tmp_path / "x", most_bytes=3) == read_regular(tmp_path / "link", most_bytes=3) == b"abc"


def test_a_fifo_that_nobody_writes_to_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(InputError, match=r"x: is not a regular file\. Give"):
        read_regular(tmp_path / "x", most_bytes=3)


def test_a_link_to_an_endless_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="is not a regular file"):
        read_regular(tmp_path / "x", most_bytes=3)


def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abcd")
    with pytest.raises(InputError, match="is too large; found 4 bytes, expected at most 3"):
        read_regular(tmp_path / "x", most_bytes=3)


@pytest.mark.parametrize("name", ["absent", "no\0name", "."], ids=["absent", "a NUL", "a folder"])
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot be read \(.+\)\. Restore"):
        read_regular(tmp_path / name, most_bytes=3)
