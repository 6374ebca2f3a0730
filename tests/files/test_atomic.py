"""Files appear whole or not at all, and what a killed run left is swept."""

import errno
import os
from pathlib import Path

import pytest

from htcnns.errors import OutputError
from htcnns.files.atomic import require_no_folder, require_writable, sweep, write_whole


def test_a_written_file_holds_the_content_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "x.bin", b"content")
    assert (tmp_path / "x.bin").read_bytes() == b"content"
    assert os.listdir(tmp_path) == ["x.bin"]


def test_the_temporary_is_hidden_and_no_nifti_name(tmp_path: Path) -> None:
    seen: list[str] = []
    write_whole(tmp_path / "x.nii.gz", b"content", check=lambda path: seen.append(path.name))
    assert seen[0].startswith(f".htcnns-{os.getpid()}-")
    assert seen[0].endswith(".part")


def test_a_name_as_long_as_the_file_system_takes_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 248 + ".nii.gz")
    write_whole(path, b"content")
    assert path.read_bytes() == b"content"


def test_a_failed_check_leaves_the_older_file(tmp_path: Path) -> None:
    def refuse(_: Path) -> None:
        raise ValueError("not as it should be")

    write_whole(tmp_path / "x.bin", b"old")
    with pytest.raises(ValueError, match="not as it should be"):
        write_whole(tmp_path / "x.bin", b"new", check=refuse)
    assert (tmp_path / "x.bin").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x.bin"]


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.ENOSPC, r"No space left on device\).*Free space there"),
        (errno.EROFS, r"Read-only file system\).*this user may write to"),
        (errno.EACCES, r"Permission denied\).*this user may write to"),
    ],
    ids=["full", "read-only", "no rights"],
)
def test_a_folder_that_cannot_be_written_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, says: str
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("htcnns.files.atomic.os.fsync", fail)
    with pytest.raises(OutputError, match=rf"{tmp_path}: cannot write x\.bin \({says}"):
        write_whole(tmp_path / "x.bin", b"content")
    assert os.listdir(tmp_path) == []


def test_an_absent_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nowhere: cannot write x\.bin \(No such file.*Make the folder"):
        write_whole(tmp_path / "nowhere" / "x.bin", b"content")


def test_a_folder_in_the_files_place_is_reported(tmp_path: Path) -> None:
    (tmp_path / "x.bin").mkdir()
    with pytest.raises(OutputError, match=r"cannot write x\.bin \(Is a directory"):
        write_whole(tmp_path / "x.bin", b"content")
    assert os.listdir(tmp_path) == ["x.bin"]


def test_sweep_takes_our_temporaries_and_nothing_else(tmp_path: Path) -> None:
    left = [tmp_path / ".htcnns-1-a.nii.gz.part", tmp_path / ".htcnns-77-b.nii.gz.part"]
    others = ["a.nii.gz", ".htcnns-x-a.part", ".htcnns-1-a.nii.gz", "htcnns-1-a.part", ".htcnns-.part"]
    for name in [*others, *(path.name for path in left)]:
        (tmp_path / name).touch()
    (tmp_path / ".htcnns-1-folder.part").mkdir()
    assert sweep(tmp_path) == tuple(left)
    assert sorted(os.listdir(tmp_path)) == sorted([*others, ".htcnns-1-folder.part"])


def test_sweep_of_an_absent_folder_finds_nothing(tmp_path: Path) -> None:
    assert sweep(tmp_path / "nowhere") == ()


def test_sweep_leaves_what_is_being_written(tmp_path: Path) -> None:
    swept: list[tuple[Path, ...]] = []
    write_whole(tmp_path / "x.bin", b"content", check=lambda _: swept.append(sweep(tmp_path)))
    assert swept == [()]
    assert (tmp_path / "x.bin").read_bytes() == b"content"


def test_a_temporary_whose_writer_has_gone_is_swept(tmp_path: Path) -> None:
    def vanish(path: Path) -> None:
        os.link(path, tmp_path / ".htcnns-5-left.part")

    write_whole(tmp_path / "x.bin", b"content", check=vanish)
    assert sweep(tmp_path) == (tmp_path / ".htcnns-5-left.part",)


def test_two_writers_of_one_name_with_one_process_number_do_not_meet(tmp_path: Path) -> None:
    seen: list[Path] = []

    def write_again(first: Path) -> None:
        write_whole(tmp_path / "x.bin", b"second", check=seen.append)
        seen.append(first)
        assert first.read_bytes() == b"first"

    write_whole(tmp_path / "x.bin", b"first", check=write_again)
    assert len(set(seen)) == 2
    assert (tmp_path / "x.bin").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["x.bin"]


def test_sweep_goes_on_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("htcnns.files.atomic.fcntl.flock", fail)
    left = tmp_path / ".htcnns-5-left.part"
    left.touch()
    write_whole(tmp_path / "x.bin", b"content")
    assert sweep(tmp_path) == (left,)
    assert os.listdir(tmp_path) == ["x.bin"]


def test_a_folder_that_is_to_be_written_is_made_and_left_empty(tmp_path: Path) -> None:
    require_writable(tmp_path / "a" / "b")
    assert os.listdir(tmp_path / "a" / "b") == []


def test_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(
        OutputError, match=r"x: cannot be written by user \d+ \(File exists\); expected a writable folder"
    ):
        require_writable(tmp_path / "x")


def test_a_folder_in_the_place_of_a_file_is_refused_with_its_setting(tmp_path: Path) -> None:
    require_no_folder(tmp_path / "report.json", setting="report")
    with pytest.raises(OutputError, match=rf"^report: {tmp_path}: is a folder; expected the name of a file") as caught:
        require_no_folder(tmp_path, setting="report")
    assert caught.value.setting == "report"
