"""Files appear whole or not at all, and temporaries of killed runs are swept."""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from htcnns.errors import OutputError, TakenError
from htcnns.files.atomic import require_file_place, require_writable, sweep, write_named, write_whole


def test_a_written_file_holds_the_content_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    write_whole(tmp_path / "x.bin", b"content")
    assert (tmp_path / "x.bin").read_bytes() == b"content"
    assert os.listdir(tmp_path) == ["x.bin"]


def test_the_temporary_is_hidden_and_not_named_as_nifti(tmp_path: Path) -> None:
    seen: list[str] = []
    write_whole(tmp_path / "x.nii.gz", b"content", check=lambda path: seen.append(path.name))
    assert seen[0].startswith(f".htcnns-{os.getpid()}-")
    assert seen[0].endswith(".part")


def test_a_name_of_the_longest_allowed_length_can_be_written(tmp_path: Path) -> None:
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


def test_a_folder_in_place_of_the_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "x.bin").mkdir()
    with pytest.raises(OutputError, match=r"cannot write x\.bin \(Is a directory"):
        write_whole(tmp_path / "x.bin", b"content")
    assert os.listdir(tmp_path) == ["x.bin"]


def test_sweep_removes_our_temporaries_and_nothing_else(tmp_path: Path) -> None:
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


def test_two_writers_of_one_name_with_one_process_id_do_not_collide(tmp_path: Path) -> None:
    seen: list[Path] = []

    def write_again(first: Path) -> None:
        write_whole(tmp_path / "x.bin", b"second", check=seen.append)
        seen.append(first)
        assert first.read_bytes() == b"first"

    write_whole(tmp_path / "x.bin", b"first", check=write_again)
    assert len(set(seen)) == 2
    assert (tmp_path / "x.bin").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["x.bin"]


def test_sweep_works_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    require_file_place(tmp_path / "report.json", setting="report")
    with pytest.raises(OutputError, match=rf"^report: {tmp_path}: is a folder; expected the name of a file") as caught:
        require_file_place(tmp_path, setting="report")
    assert caught.value.setting == "report"


def _sweep_before_it_is_locked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, ...]]:
    """Let another run sweep the folder just before the first temporary is locked, and return what it swept."""
    real, swept = fcntl.flock, list[tuple[Path, ...]]()

    def lock(file: object, how: int) -> None:
        if not swept:
            swept.append(())  # the sweep locks as well
            swept[0] = sweep(folder)
        real(file, how)  # type: ignore[arg-type]

    monkeypatch.setattr("htcnns.files.atomic.fcntl.flock", lock)
    return swept


def test_a_probe_that_another_run_sweeps_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swept = _sweep_before_it_is_locked(tmp_path, monkeypatch)
    require_writable(tmp_path)
    assert (len(swept[0]), os.listdir(tmp_path)) == (1, [])


def test_a_temporary_that_another_run_sweeps_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    swept = _sweep_before_it_is_locked(tmp_path, monkeypatch)
    write_whole(tmp_path / "x.bin", b"content")
    assert (len(swept[0]), os.listdir(tmp_path)) == (1, ["x.bin"])


def test_a_probe_is_not_swept_while_it_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, swept = Path.unlink, list[tuple[Path, ...]]()

    def unlink(path: Path, **named: bool) -> None:
        if not swept:
            swept.append(sweep(tmp_path))
        real(path, **named)

    monkeypatch.setattr(Path, "unlink", unlink)
    require_writable(tmp_path)
    assert swept == [()]


def test_another_users_temporary_is_kept_and_does_not_stop_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a sticky folder; the refusal is simulated, as root may remove everything."""
    theirs, ours = tmp_path / ".htcnns-1-theirs.part", tmp_path / ".htcnns-2-ours.part"
    theirs.touch()
    ours.touch()
    real = Path.unlink

    def refuse(path: Path, **named: bool) -> None:
        if path == theirs:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        real(path, **named)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert sweep(tmp_path) == (ours,)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_a_folder_or_a_pipe_is_never_replaced(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "x.bin")
    before = os.lstat(tmp_path / "x.bin").st_ino
    with pytest.raises(TakenError, match=r"cannot write x\.bin \(.*Move it away"):
        write_whole(tmp_path / "x.bin", b"content")
    assert (os.lstat(tmp_path / "x.bin").st_ino, os.listdir(tmp_path)) == (before, ["x.bin"])


def test_a_name_that_cannot_be_replaced_is_reported_as_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("htcnns.files.atomic.os.replace", refuse)
    with pytest.raises(TakenError, match=r"cannot write x\.bin \(Operation not permitted"):
        write_whole(tmp_path / "x.bin", b"content")


def test_a_named_file_is_written_where_its_link_leads(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "report.json").symlink_to("store/later.json")
    write_named(tmp_path / "report.json", b"content")
    assert (tmp_path / "report.json").is_symlink()
    assert (tmp_path / "store" / "later.json").read_bytes() == b"content"


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/null")], ids=["pipe", "device"])
def test_a_device_or_a_pipe_in_place_of_a_file_is_refused(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "report.json")
    with pytest.raises(
        OutputError, match=r"^report: .*report\.json: is a device, a pipe or a socket; expected the name"
    ):
        require_file_place(tmp_path / "report.json", setting="report")


def test_the_file_that_output_goes_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log").touch()
    monkeypatch.setattr("htcnns.files.atomic.os.fstat", lambda _: os.stat(tmp_path / "log"))
    with pytest.raises(OutputError, match="log: is where the printed lines go"):
        require_file_place(tmp_path / "log", setting="report")


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + "/report.json"], ids=["file", "folder"])
def test_a_name_too_long_for_the_file_system_is_reported(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"cannot be written by user \d+ \(File name too long"):
        require_file_place(tmp_path / name, setting="report")
    with pytest.raises(OutputError, match=r"cannot be written by user \d+ \(File name too long"):
        require_writable(tmp_path / name)
    assert sweep(tmp_path) == ()
