"""A log of JSON lines that grows: a whole line for each event, whoever else writes to it."""

import os
from pathlib import Path
from types import TracebackType

from htcnns.errors import OutputError
from htcnns.files.atomic import followed, require_named_place

_MARK = b'{"event": "'  # what every line begins with
_MOST_OF_A_LINE = 2**20


class LineLog:
    """An open log, continued where it is there already; each line is added by one call of the operating system.

    Raises:
        OutputError: it cannot be written; from `add` too.
    """

    def __init__(self, path: Path) -> None:
        self._path = followed(path)
        try:
            self._number = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o666)
            _cut_unfinished_line(self._number)
        except OSError as error:
            raise self._cannot(error) from error

    def __enter__(self) -> "LineLog":
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._number)

    def add(self, line: str) -> None:
        """Add a line, which ends with a line end."""
        content = line.encode()
        assert content.startswith(_MARK)
        try:
            while content:  # a disk that is nearly full takes a part, and says why with the rest
                content = content[os.write(self._number, content) :]
        except OSError as error:
            raise self._cannot(error) from error

    def _cannot(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot be written ({error.strerror or error})",
            place=self._path,
            setting="log",
            expected="a file with room and rights",
            remedy="Free space there, give another file, or leave it out.",
        )


def require_log_place(path: Path) -> None:
    """Raise OutputError where a log cannot be written, or a file of another kind would be continued."""
    require_named_place(path, setting="log")
    if not _may_be_log(path):
        raise OutputError(
            "is no log",
            place=path,
            setting="log",
            expected="a log of earlier runs, which is continued, or a new file",
            remedy="Give another file.",
        )


def _may_be_log(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return _MARK.startswith(file.read(len(_MARK)))
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _cut_unfinished_line(number: int) -> None:
    """Remove what stands after the last line end, as a full disk or a power cut may leave a part of a line."""
    size = os.fstat(number).st_size
    tail = os.pread(number, _MOST_OF_A_LINE, max(0, size - _MOST_OF_A_LINE))
    if tail and not tail.endswith(b"\n"):
        os.ftruncate(number, size - len(tail) + tail.rfind(b"\n") + 1)
