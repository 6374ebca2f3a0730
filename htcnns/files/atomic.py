"""Whole files only: written under a hidden name, checked, then renamed; what a killed run left behind is removed."""

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
    """Write the file so that nobody ever sees a part of it, replacing any file of that name.

    Args:
        check: function that raises where the finished temporary is not as it should be.

    Raises:
        OutputError: the file cannot be written; nothing is left behind, and an older file stays.
    """
    # Processes in two containers may have one number, so the number alone would let them share a temporary.
    temporary = path.with_name(f".htcnns-{os.getpid()}-{uuid.uuid4().hex}.part")
    try:
        with temporary.open("wb") as file:
            _lock(file)  # until it has its name, so that nobody sweeps it; a killed run loses its lock
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if check:
                check(temporary)
            os.replace(temporary, path)
    except OSError as error:
        raise _cannot(f"write {path.name}", path.parent, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def require_writable(folder: Path) -> None:
    """Make the folder if need be and write a file into it, or raise OutputError; permission bits do not tell."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".htcnns-0-", suffix=".part", dir=folder)
        os.close(handle)
        os.unlink(name)
    except OSError as error:
        raise OutputError(
            f"cannot be written by user {os.getuid()} ({error.strerror or error})",
            place=folder,
            expected="a writable folder",
            remedy="Give another folder, or run as its owner.",
        ) from error


def require_no_folder(path: Path, *, setting: str) -> None:
    """Raise OutputError where a file is to be written and a folder stands, or nobody may look.

    Args:
        setting: Python name of the setting that names the file.
    """
    try:
        is_folder = path.is_dir()
    except OSError as error:
        raise OutputError(
            f"cannot be written by user {os.getuid()} ({error.strerror or error})",
            place=path,
            setting=setting,
            expected="the name of a file",
            remedy="Give another name, or run as the folder's owner.",
        ) from error
    if is_folder:
        raise OutputError(
            "is a folder",
            place=path,
            setting=setting,
            expected="the name of a file",
            remedy="Give the name of a file, such as one inside that folder.",
        )


def sweep(folder: Path) -> tuple[Path, ...]:
    """Remove the temporaries of killed runs and return their paths; none where there is no such folder.

    What another run is writing at this moment stays, unless the file system has no locks.

    Raises:
        OutputError: one of them cannot be removed.
    """
    if not folder.is_dir():
        return ()
    try:
        found = sorted(path for path in folder.iterdir() if _TEMPORARY.fullmatch(path.name) and path.is_file())
        left = [path for path in found if not _is_being_written(path)]
        for path in left:
            path.unlink(missing_ok=True)  # another run may sweep, too
    except OSError as error:
        raise _cannot("remove temporaries", folder, error) from error
    return tuple(left)


def _lock(file: IO[bytes]) -> bool:
    """Whether the file is ours alone now; True also where the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_being_written(path: Path) -> bool:
    """Whether another process holds the temporary; False for one that cannot be opened, as removing it will tell."""
    try:
        with path.open("rb") as file:
            return not _lock(file)
    except OSError:
        return False


def _cannot(what: str, folder: Path, error: OSError) -> OutputError:
    """What a failed attempt in a folder is reported as."""
    return OutputError(
        f"cannot {what} ({error.strerror or error})",
        place=folder,
        expected="a folder with room and rights",
        remedy=_REMEDIES.get(error.errno or 0, "Give a folder that this user may write to."),
    )
