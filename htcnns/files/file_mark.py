"""Whether a file is still as it was, without reading it."""

import os
from pathlib import Path

FileMark = tuple[int, int]


def file_mark(path: Path) -> FileMark:
    """Bytes and time of the last change, in ns, of the file, links followed; zeros where it cannot be looked at."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
