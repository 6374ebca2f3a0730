"""Digests of files, and whether a file still holds the bytes of an earlier digest."""

import hashlib
import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from htcnns.errors import InputError
from htcnns.files.file_mark import changed_scan, file_mark
from htcnns.labels import Sequence

_SETTLED_NS = 2 * 10**9  # a file system may give two changes within one tick of its clock the same time


@dataclass(frozen=True)
class FileDigest:
    """What identifies the bytes of a file.

    Attributes:
        sha256: checksum of its bytes as stored.
        stamp: its `file_mark`; "" where it had just changed, as the mark might not show another change.
    """

    sha256: str
    stamp: str


def stamps_of(files: Mapping[Sequence, Path]) -> dict[Sequence, str]:
    """The `file_mark` of each file."""
    return {sequence: file_mark(path) for sequence, path in files.items()}


def digests_since(files: Mapping[Sequence, Path], stamps: Mapping[Sequence, str]) -> dict[Sequence, FileDigest]:
    """Digests of files that were read after `stamps` were taken; unchanged stamps prove they are of the bytes read.

    Raises:
        InputError: a file has changed since its stamp was taken, or cannot be read.
    """
    found = {sequence: FileDigest(sha256_of(path), _settled(path)) for sequence, path in files.items()}
    for sequence, path in files.items():
        if file_mark(path) != stamps[sequence]:
            raise changed_scan(sequence, path)
    return found


def has_same_bytes(path: Path, known: FileDigest) -> bool:
    """Whether the file holds the bytes of that digest; it is read only where the stamp differs or is empty.

    A stamp can be trusted as it includes the ctime, which programs cannot set back as they can the mtime.
    """
    return bool(known.stamp and file_mark(path) == known.stamp) or sha256_of_any(path) == known.sha256


def sha256_of(path: Path) -> str:
    """The digest of the file's bytes, as hexadecimal digits.

    Raises:
        InputError: it cannot be read, or is no regular file.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError("is not a regular file", place=path, remedy="Give the file itself.")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror or error})", place=path, remedy="Make it readable or copy it again."
        ) from error


def sha256_of_any(path: Path) -> str:
    """Like `sha256_of`, but "" where the file cannot be read."""
    try:
        return sha256_of(path)
    except InputError:
        return ""


def _settled(path: Path) -> str:
    """The file's stamp; "" where it changed so recently that another change might not show in the stamp."""
    stamp = file_mark(path)
    is_settled = bool(stamp) and time.time_ns() - int(stamp.rpartition("-")[2]) > _SETTLED_NS
    return stamp if is_settled else ""
