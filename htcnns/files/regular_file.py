"""The whole content of a file that is one: no FIFO that never answers, no device that never ends."""

import os
import stat
from pathlib import Path

from htcnns.errors import InputError


def read_regular(path: Path, *, most_bytes: int) -> bytes:
    """The file's content; links are followed.

    Raises:
        InputError: it cannot be read, is no regular file, or is larger than that.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InputError("is no regular file", place=path, remedy="Give the file itself.")
            content = file.read() if found.st_size <= most_bytes else None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be read ({reason})", place=path, remedy="Restore the file.") from error
    if content is None or len(content) > most_bytes:
        raise InputError(
            "is too large",
            place=path,
            found=f"{found.st_size} bytes",
            expected=f"at most {most_bytes}",
            remedy="Give another file.",
        )
    return content


def _without_waiting(path: str, flags: int) -> int:
    """The file opened, even if it is a FIFO that nobody writes to."""
    return os.open(path, flags | os.O_NONBLOCK)
