"""Whole files only: written under a hidden name, checked, then renamed; temporaries of killed runs are removed."""

import errno
import fcntl
import os
import re
import stat
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from htcnns.errors import OutputError, TakenError
from htcnns.files.places import resolved

_TEMPORARY = re.compile(r"\.htcnns-\d+-.+\.part")
_ATTEMPTS = 20  # to make a temporary, as another run may sweep it before it is locked

_REMEDIES = {
    errno.ENOSPC: "Free space there or give another folder.",
    errno.EDQUOT: "Free space there or give another folder.",
    errno.ENOENT: "Make the folder or give another.",
    errno.ENAMETOOLONG: "Give a shorter name.",
}
_OF_THE_NAME = {  # errors of renaming that concern this name alone: another in that folder would do
    *(errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST),
    *(errno.EPERM, errno.EACCES),  # another user's file in a sticky folder, or an immutable file
    *(errno.EBUSY, errno.ETXTBSY, errno.ENAMETOOLONG),
}


def write_whole(path: Path, content: bytes, *, check: Callable[[Path], None] | None = None) -> None:
    """Write the file so that nobody ever sees a part of it, replacing any file or link of that name.

    Args:
        check: function that is called with the finished temporary and raises where it is wrong.

    Raises:
        TakenError: the path is a folder, a device, a pipe or a file that this user may not replace.
        OutputError: the file cannot be written; nothing is left behind, and an older file stays.
    """
    require_replaceable(path)
    temporary = None
    try:
        temporary, file = _new_temporary(path.parent)
        with file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if check:
                check(temporary)
            _rename(temporary, path)
    except OSError as error:
        raise _cannot(f"write {path.name}", path.parent, error) from error
    finally:
        if temporary:
            with suppress(OSError):
                temporary.unlink()


def write_named(path: Path, content: bytes) -> None:
    """Write a file that a person named: like `write_whole`, but a link is followed and kept."""
    write_whole(followed(path), content)


def followed(path: Path) -> Path:
    """The file that a link leads to, even if it does not exist; the path itself where it is no link."""
    return resolved(path) if os.path.islink(path) else path


def require_replaceable(path: Path) -> None:
    """Raise TakenError where the path is anything but a file or a link, as no file may replace that."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return  # nothing is there, or it cannot be seen, which writing will report
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise TakenError(
            f"cannot write {path.name} ({os.strerror(errno.EISDIR) if stat.S_ISDIR(mode) else 'not a regular file'})",
            place=path.parent,
            expected="a file of that name, or none",
            remedy="Move it away or give another folder.",
        )


def require_writable(folder: Path) -> None:
    """Make the folder if need be and create a file in it, or raise OutputError; permission bits are not reliable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary, file = _new_temporary(folder)
        with file:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot be written by user {os.getuid()} ({error.strerror or error})",
            place=folder,
            expected="a writable folder",
            remedy="Give another folder, or run as its owner.",
        ) from error


def require_file_place(path: Path, *, setting: str) -> None:
    """Raise OutputError where the path, links followed, is something other than a file, our own output or inaccessible.

    Args:
        setting: Python name of the setting that names the file.
    """
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return  # whether the folder is writable is checked elsewhere
    except OSError as error:
        raise OutputError(
            f"cannot be written by user {os.getuid()} ({error.strerror or error})",
            place=path,
            setting=setting,
            expected="the name of a file",
            remedy="Give another name, or run as the folder's owner.",
        ) from error
    if stat.S_ISDIR(status.st_mode):
        problem, remedy = "is a folder", "Give the name of a file, such as one inside that folder."
    elif not stat.S_ISREG(status.st_mode):
        problem, remedy = "is a device, a pipe or a socket", "Give the name of a file, or leave it out."
    elif _is_printed_to(status):
        problem, remedy = "is where the printed lines go", "Give another file."
    else:
        return
    raise OutputError(problem, place=path, setting=setting, expected="the name of a file", remedy=remedy)


def require_folder_place(path: Path, *, setting: str, remedy: str = "Give another folder.") -> None:
    """Raise OutputError where the path is something other than a folder.

    Args:
        setting: Python name of the setting that names the folder.
        remedy: last sentence of the error.
    """
    if os.path.lexists(path) and not os.path.isdir(path):
        raise OutputError(
            "is not a folder",
            place=path,
            setting=setting,
            expected="a folder, or an unused name",
            remedy=remedy,
        )


def require_named_place(path: Path, *, setting: str) -> None:
    """Raise OutputError unless `write_named` can write there; makes the folder if need be.

    Args:
        setting: Python name of the setting that names the file.
    """
    require_file_place(path, setting=setting)
    require_writable(followed(path).parent)


def sweep(folder: Path) -> tuple[Path, ...]:
    """Remove the temporaries of killed runs and return their paths; none where there is no such folder.

    Temporaries that another run is writing are kept, unless the file system has no locks; so are those that this user
    may not remove.

    Raises:
        OutputError: the folder cannot be listed.
    """
    try:
        found = sorted(path for path in folder.iterdir() if _TEMPORARY.fullmatch(path.name) and path.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return ()
    except OSError as error:
        raise _cannot("look for temporary files", folder, error) from error
    return tuple(path for path in found if _is_swept(path))


def is_locked_by_us(file: IO[bytes]) -> bool:
    """Lock the file and return whether it is ours alone; also True where the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _new_temporary(folder: Path) -> tuple[Path, IO[bytes]]:
    """A new hidden file, open and locked so that nobody sweeps it; a killed run loses its lock.

    Another run may sweep it just before it is locked; then a new one is made.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        # Processes in two containers may have the same id, so the id alone would let them share a temporary.
        path = folder / f".htcnns-{os.getpid()}-{uuid.uuid4().hex}.part"
        file = path.open("xb")
        if (is_locked_by_us(file) and os.path.lexists(path)) or attempt == _ATTEMPTS:
            break
        file.close()
        with suppress(OSError):
            path.unlink()
    return path, file


def _rename(temporary: Path, path: Path) -> None:
    """Rename the temporary to its final path; raises TakenError where only this name cannot be used."""
    try:
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in _OF_THE_NAME:
            raise
        raise TakenError(
            f"cannot write {path.name} ({error.strerror or error})",
            place=path.parent,
            expected="a file of that name that this user may replace, or none",
            remedy="Move it away or give another folder.",
        ) from error


def _is_printed_to(status: os.stat_result) -> bool:
    """Whether the file is this process's own output, as `/dev/stdout` is when redirected to a file."""
    for number in (1, 2):
        with suppress(OSError):
            if os.path.samestat(status, os.fstat(number)):
                return True
    return False


def _is_swept(path: Path) -> bool:
    """Remove a temporary that no run has locked, and return whether we removed it.

    It is removed under our lock, so that a run that is just creating it notices the loss.
    """
    try:
        with path.open("rb") as file:
            if not is_locked_by_us(file):
                return False
            path.unlink()
    except OSError:  # swept by another run, or another user's
        return False
    return True


def _cannot(what: str, folder: Path, error: OSError) -> OutputError:
    """The error that reports a failed attempt in a folder."""
    return OutputError(
        f"cannot {what} ({error.strerror or error})",
        place=folder,
        expected="a writable folder with free space",
        remedy=_REMEDIES.get(error.errno or 0, "Give a folder that this user may write to."),
    )
