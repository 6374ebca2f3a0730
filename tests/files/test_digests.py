"""Digests are of the bytes that were read, and are computed again only where a file may have changed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from htcnns.errors import InputError
from htcnns.files import digests
from htcnns.files.digests import FileDigest, digests_since, has_same_bytes, sha256_of, stamps_of
from htcnns.labels import Sequence

OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2's example


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "t1n.nii.gz"
    path.write_bytes(b"abc")
    return path


@pytest.fixture
def known(path: Path, monkeypatch: pytest.MonkeyPatch) -> FileDigest:
    """Digest of a file that has not changed for a while."""
    monkeypatch.setattr(digests, "_SETTLED_NS", -1)
    return digests_since({Sequence.T1N: path}, stamps_of({Sequence.T1N: path}))[Sequence.T1N]


def test_a_digest_is_sha256(known: FileDigest) -> None:
    assert known.sha256 == OF_ABC


def test_a_file_with_the_same_stamp_is_not_read(path: Path, known: FileDigest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "sha256_of", lambda _: pytest.fail("was read"))
    assert has_same_bytes(path, known)


def test_a_file_with_another_time_and_the_same_bytes_is_the_same(path: Path, known: FileDigest) -> None:
    os.utime(path, ns=(1, 1))
    assert has_same_bytes(path, known)


def test_other_bytes_of_the_same_size_and_time_are_noticed(path: Path, known: FileDigest) -> None:
    before = path.stat()
    path.write_bytes(b"abd")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert not has_same_bytes(path, known)


def test_a_link_that_leads_to_another_file_is_noticed(path: Path, known: FileDigest) -> None:
    path.rename(path.with_name("first"))
    path.symlink_to("first")
    assert has_same_bytes(path, known)
    path.with_name("second").write_bytes(b"abd")
    path.unlink()
    path.symlink_to("second")
    assert not has_same_bytes(path, known)


def test_a_file_that_is_gone_is_not_the_same(path: Path, known: FileDigest) -> None:
    path.unlink()
    assert not has_same_bytes(path, known)


def test_a_file_that_just_changed_is_read_again_next_time(path: Path) -> None:
    files = {Sequence.T1N: path}
    (young,) = digests_since(files, stamps_of(files)).values()
    assert young == FileDigest(OF_ABC, "")
    assert has_same_bytes(path, young)
    path.write_bytes(b"abd")
    assert not has_same_bytes(path, young)


def test_a_file_that_changes_while_it_is_read_is_refused(path: Path) -> None:
    files = {Sequence.T1N: path}
    stamps = stamps_of(files)
    path.write_bytes(b"abcd")
    with pytest.raises(InputError, match=r"^t1n \(t1n\.nii\.gz\) changed while it was read\. Run again"):
        digests_since(files, stamps)


@pytest.mark.parametrize("kind", ["none", "folder", "fifo"])
def test_what_is_not_a_file_is_refused(tmp_path: Path, kind: str) -> None:
    make: dict[str, Callable[[Path], object]] = {"none": bool, "folder": Path.mkdir, "fifo": os.mkfifo}
    make[kind](tmp_path / "x")
    with pytest.raises(InputError, match=r"(cannot be read \(No such file|is not a regular file)"):
        sha256_of(tmp_path / "x")
