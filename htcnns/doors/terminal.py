"""What a terminal can show: errors in the command line's words, and any file name."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from htcnns.errors import HtcnnsError
from htcnns.files.closed_pipe import lead_nowhere
from htcnns.reports.plain_text import one_line

_ARGUMENTS = {
    "input": "IN",
    "output": "OUT",
    "definitions": "--also",
    "origin": "--from",
    "files": "FILE",
    "time_limit_s": "--time-limit",
    "watch_s": "--watch",
    "until_idle_s": "--until-idle",
    "case_list": "--list",
    "cavity_share": "--cavities",
    "recipe_name": "NAME",
}  # settings that have another name here


def flag(setting: str) -> str:
    """The command line's name for the setting of that Python name."""
    return _ARGUMENTS.get(setting, f"--{setting.replace('_', '-')}")


def print_error(error: HtcnnsError, *, prefix: str = "htcnns") -> int:
    """Print the error on stderr as one line in the command line's words, and return its exit code."""
    print(f"{prefix}: {one_line(error.sentence(flag))}", file=sys.stderr)
    return error.exit_code


@contextmanager
def steady_output() -> Iterator[None]:
    """Inside, no printed line ends the run.

    What the terminal cannot show is escaped; if the reader has gone, as `head` does, or its disk is full, lines are
    dropped.
    """
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # a daemon may have started the run without either; it is None then
    sys.stdout, sys.stderr = (cast(TextIO, _Steady(stream) if stream else stream) for stream in before)
    try:
        yield
    finally:
        for stream in filter(None, (sys.stdout, sys.stderr)):
            stream.flush()
        sys.stdout, sys.stderr = before


class _Steady:
    """A stream that continues when it can no longer be written to; otherwise like the stream it wraps."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write to the stream, or to nowhere if that fails."""
        try:
            return self._stream.write(text)
        except OSError:
            lead_nowhere(self._stream)
            return len(text)

    def flush(self) -> None:
        """Flush the stream, or drop what it holds if that fails."""
        try:
            self._stream.flush()
        except OSError:
            lead_nowhere(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def counted(number: int, thing: str) -> str:
    """A number of things, such as "1 case" or "3 cases"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def rough_time(seconds: float) -> str:
    """A rough time, such as "12 min", "3.5 h" or "2.1 d"."""
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86400 else f"{seconds / 86400:.1f} d"
