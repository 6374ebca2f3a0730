"""Whether a file is still as it was, without reading it."""

import os
from pathlib import Path

from htcnns.errors import InputError
from htcnns.labels import Sequence


def file_mark(path: Path) -> str:
    """Size, inode, mtime and ctime of the file as text, links followed; "" where it cannot be accessed."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_size}-{found.st_ino}-{found.st_mtime_ns}-{found.st_ctime_ns}"


def changed_scan(sequence: Sequence, path: Path, *, case: str = "") -> InputError:
    """The error for a scan that changed while it was read."""
    return InputError(
        f"{sequence} ({path.name}) changed while it was read",
        place=case,
        remedy="Run again when nothing writes to it any more.",
    )
