"""Whole files only: written under a hidden name, checked, then renamed; what a killed run left is swept."""

import errno
import os
import re
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

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
    temporary = path.with_name(f".htcnns-{os.getpid()}-{zlib.crc32(os.fsencode(path.name)):08x}.part")
    try:
        with temporary.open("wb") as file:
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


def sweep(folder: Path) -> tuple[Path, ...]:
    """Remove the temporaries of killed runs, and give their paths; empty where there is no such folder.

    A run that is writing into the same folder at this moment would lose its temporary: sweep at the start only.

    Raises:
        OutputError: one of them cannot be removed.
    """
    if not folder.is_dir():
        return ()
    try:
        left = sorted(path for path in folder.iterdir() if _TEMPORARY.fullmatch(path.name) and path.is_file())
        for path in left:
            path.unlink()
    except OSError as error:
        raise OutputError(_cannot("remove temporaries", folder, error)) from error
    return tuple(left)


def _cannot(what: str, folder: Path, error: OSError) -> str:
    remedy = _REMEDIES.get(error.errno or 0, "Give a folder that this user may write to.")
    return f"{folder}: cannot {what}; {error.strerror or error}, expected a folder with room and rights. {remedy}"
