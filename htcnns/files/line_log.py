"""An append-only log of JSON lines: each event is one whole line, even when other processes write to the log."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from htcnns.errors import OutputError
from htcnns.files.atomic import followed, require_named_place

_MARK = b'{"event": "'  # what every line begins with
_MOST_OF_A_LINE = 2**20


class LineLog:
    """An open log, appended to if it exists already; each line is written under a lock.

    Raises:
        OutputError: the log cannot be written; also raised by `add`.
    """

    def __init__(self, path: Path) -> None:
        self._path = followed(path)
        try:
            self._number = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o666)
            with _alone(self._number):
                _cut_unfinished_line(self._number)
        except OSError as error:
            raise self._cannot(error) from error

    def __enter__(self) -> "LineLog":
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._number)

    def add(self, line: str) -> None:
        """Append a line, which must end with a newline."""
        content = line.encode()
        assert content.startswith(_MARK)
        try:
            with _alone(self._number):
                while content:  # a nearly full disk takes a part; writing the rest raises the reason
                    content = content[os.write(self._number, content) :]
        except OSError as error:
            raise self._cannot(error) from error

    def _cannot(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot be written ({error.strerror or error})",
            place=self._path,
            setting="log",
            expected="a writable file and free space",
            remedy="Free space there, give another file, or leave it out.",
        )


def require_log_place(path: Path) -> None:
    """Raise OutputError where a log cannot be written, or an existing file is not a log."""
    require_named_place(path, setting="log")
    if not _may_be_log(path):
        raise OutputError(
            "is not a log",
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


@contextmanager
def _alone(number: int) -> Iterator[None]:
    """Lock the log while the block runs: a line that is being written looks unfinished to whoever opens the log."""
    with suppress(OSError):  # a file system without locks
        fcntl.flock(number, fcntl.LOCK_EX)
    try:
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(number, fcntl.LOCK_UN)


def _cut_unfinished_line(number: int) -> None:
    """Remove anything after the last newline, as a full disk or a power cut may leave a partial line."""
    size = os.fstat(number).st_size
    tail = os.pread(number, _MOST_OF_A_LINE, max(0, size - _MOST_OF_A_LINE))
    if tail and not tail.endswith(b"\n"):
        os.ftruncate(number, size - len(tail) + tail.rfind(b"\n") + 1)
