"""Which run is working on a case: a hidden file beside its mask, locked until the run's process ends at the latest."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import IO

from htcnns.errors import OutputError
from htcnns.files.atomic import is_locked_by_us

_ATTEMPTS = 20  # to lock a claim, as another run may give it back or sweep it at that moment


class Claims:
    """The claims of one run, changed by every call; those still held are given back at the end.

    Two runs in one folder may both want a case; the one that has its claim works on it. A claim is a lock that the
    operating system drops when its process ends, however it ends, so none outlives a killed run; `files.atomic.sweep`
    removes the empty file. Where the file system has no locks, every claim succeeds, and two runs may do the same
    case: each mask is still a whole file.
    """

    def __init__(self) -> None:
        self._files: dict[Path, IO[bytes]] = {}
        self._is_open = True
        self._lock = Lock()

    def __enter__(self) -> "Claims":
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            self._is_open = False
        for mask in list(self._files):
            self.give_back(mask)

    def take(self, mask: Path) -> bool:
        """Claim the case of that mask; False while any run is working on it, or where this run has ended.

        Raises:
            OutputError: the claim cannot be written.
        """
        with self._lock:
            return self._is_open and mask not in self._files and self._take(mask)

    def give_back(self, mask: Path) -> None:
        """Let other runs have the case; nothing happens where it was not claimed."""
        file = self._files.pop(mask, None)
        if file is None:
            return
        with file, suppress(OSError):  # removed while locked, so that nobody locks a file that is gone
            claim_path(mask).unlink()

    def _take(self, mask: Path) -> bool:
        path = claim_path(mask)
        try:
            file = _locked(path)
        except OSError as error:
            raise OutputError(
                f"cannot write {path.name} ({error.strerror or error})",
                place=mask.parent,
                expected="a writable folder with free space",
                remedy="Free space there, or give a folder that this user may write to.",
            ) from error
        if file is None:
            return False
        self._files[mask] = file
        return True


def claim_path(mask: Path) -> Path:
    """The file of a claim, named so that `files.atomic.sweep` removes it like a temporary."""
    return mask.parent / f".htcnns-0-claim-{hashlib.sha256(os.fsencode(mask.name)).hexdigest()[:32]}.part"


def _locked(path: Path) -> IO[bytes] | None:
    """The file, open and locked by us; None where another run has it."""
    for _ in range(_ATTEMPTS):
        file = _opened(path)
        if not is_locked_by_us(file):
            file.close()
            return None
        if _is_still(file, path):
            return file
        file.close()
    return None


def _opened(path: Path) -> IO[bytes]:
    """The file, made if need be; another user's file is opened for reading only, which is enough for a lock."""
    try:
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+b")
    except PermissionError:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def _is_still(file: IO[bytes], path: Path) -> bool:
    """Whether the open file still has that name: another run may have removed it before it was locked."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
    except FileNotFoundError:
        return False
