"""Whole files only: written under a hidden name, checked, then renamed; what a killed run left is swept."""

import errno
import fcntl
import os
import re
import tempfile
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from htcnns.errors import OutputError

_TEMPORARY = re.compile(r"\.htcnns-\d+-.+\.part")

_REMEDIES = {
    errno.ENOSPC: "Free space there or give another folder.",
    errno.EDQUOT: "Free space there or give another folder.",
    errno.ENOENT: "Make the folder or give another.",
}


def write_whole(path: Path, content: bytes, *, check: Callable[[Path], None] | None = None) -> None:
    """Write the file so that nobody ever sees a part of it, replacing one of that name.

    Args:
        check: looks at the finished temporary and raises where it is not as it should be.

    Raises:
        OutputError: the file cannot be written; nothing is left behind, and an older file stays.
    """
    # Containers share process numbers, so the number alone would let two of them write into one temporary.
    temporary = path.with_name(f".htcnns-{os.getpid()}-{uuid.uuid4().hex}.part")
    try:
        with temporary.open("wb") as file:
            _lock(file)  # until it has its name, so that nobody sweeps it; the lock of a killed run goes with it
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if check:
                check(temporary)
            os.replace(temporary, path)
    except OSError as error:
        raise OutputError(_cannot(f"write {path.name}", path.parent, error)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def require_writable(folder: Path) -> None:
    """Make the folder if need be and try it with a real file, or raise OutputError; permission bits do not tell."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".htcnns-0-", suffix=".part", dir=folder)
        os.close(handle)
        os.unlink(name)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written by user {os.getuid()} ({error.strerror}); expected a writable folder. "
            "Give another folder, or run as its owner (docker run --user)."
        ) from error


def require_no_folder(path: Path, *, flag: str) -> None:
    """Raise OutputError where a folder stands in the place of the file that a flag names, or nobody may look."""
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written by user {os.getuid()} ({error.strerror}); expected the name of a file. "
            f"Give {flag} another name, or run as the folder's owner."
        ) from error
    if is_folder:
        raise OutputError(f"{path}: is a folder; expected the name of a file. Give {flag} FILE.")


def sweep(folder: Path) -> tuple[Path, ...]:
    """Remove the temporaries of killed runs, and give their paths; empty where there is no such folder.

    What another run is writing at this moment stays, wherever the file system knows locks.

    Raises:
        OutputError: one of them cannot be removed.
    """
    if not folder.is_dir():
        return ()
    try:
        found = sorted(path for path in folder.iterdir() if _TEMPORARY.fullmatch(path.name) and path.is_file())
        left = [path for path in found if not _is_being_written(path)]
        for path in left:
            path.unlink(missing_ok=True)  # another run may sweep as well
    except OSError as error:
        raise OutputError(_cannot("remove temporaries", folder, error)) from error
    return tuple(left)


def _lock(file: IO[bytes]) -> bool:
    """Whether the file is ours alone now; True as well where the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_being_written(path: Path) -> bool:
    """Whether another process holds the temporary; one that cannot be opened is left to the attempt to remove it."""
    try:
        with path.open("rb") as file:
            return not _lock(file)
    except OSError:
        return False


def _cannot(what: str, folder: Path, error: OSError) -> str:
    remedy = _REMEDIES.get(error.errno or 0, "Give a folder that this user may write to.")
    return f"{folder}: cannot {what}; {error.strerror or error}, expected a folder with room and rights. {remedy}"
