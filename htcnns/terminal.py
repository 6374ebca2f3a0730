"""What a terminal can show: any file name, on one line and without commands to the terminal itself."""

import io
import sys
import unicodedata


def print_any_name() -> None:
    """Let a file name that the terminal cannot show be printed with escapes, instead of ending the run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def one_line(text: str) -> str:
    """The text with control characters and line ends as escapes, such as \\n and \\x1b; a file name may hold them."""
    return "".join(
        ascii(character)[1:-1] if unicodedata.category(character) in ("Cc", "Zl", "Zp") else character
        for character in text
    )
