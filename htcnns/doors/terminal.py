"""What a terminal can show: errors in the reader's words, and any file name."""

import io
import sys

from htcnns.errors import HtcnnsError
from htcnns.reports.plain_text import one_line

_ARGUMENTS = {
    "input": "IN",
    "output": "OUT",
    "definitions": "--also",
    "origin": "--from",
}  # settings whose name here is another


def flag(setting: str) -> str:
    """What the command line calls a setting of that Python name."""
    return _ARGUMENTS.get(setting, f"--{setting.replace('_', '-')}")


def print_error(error: HtcnnsError, *, prefix: str = "htcnns") -> int:
    """Print the error on stderr as one line in the command line's words, and return its exit code."""
    print(f"{prefix}: {one_line(error.sentence(flag))}", file=sys.stderr)
    return error.exit_code


def print_any_name() -> None:
    """Let a file name that the terminal cannot show be printed with escapes, instead of ending the run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def counted(number: int, thing: str) -> str:
    """A number of things, such as "1 case" or "3 cases"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
