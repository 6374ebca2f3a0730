"""The whole content of a regular file: never of a FIFO that would block, or of a device without end."""

import os
import stat
from pathlib import Path

from htcnns.errors import InputError


def read_regular(path: Path, *, most_bytes: int) -> bytes:
    """The file's content; links are followed.

    Raises:
        InputError: the file cannot be read, is not a regular file, or is larger than `most_bytes`.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InputError("is not a regular file", place=path, remedy="Give the file itself.")
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
    """Descriptor of the opened file; opening does not block even on a FIFO that nobody writes to."""
    return os.open(path, flags | os.O_NONBLOCK)
