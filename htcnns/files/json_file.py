"""Strict reading of JSON files: UTF-8, only numbers that JSON has, and limited size and nesting."""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from htcnns.errors import InputError
from htcnns.files.regular_file import read_regular

MOST_BYTES = 2**26
MOST_VALUES = 2**21  # in all objects and arrays; 5 million empty arrays (16 MiB) took 4 s; the report of a case has 100
DEEPEST = 32  # levels of objects and arrays; what is read is also written into reports, recursively


def read_json(path: Path, *, most_bytes: int = MOST_BYTES) -> Any:
    """The content of a JSON file as plain data.

    Raises:
        InputError: the file cannot be read, is too large, is not JSON, contains NaN, Infinity or a number too large for
            a float, is nested deeper than DEEPEST, or has more than MOST_VALUES values.
    """
    try:
        text = read_regular(path, most_bytes=most_bytes).decode("utf-8")
        _require_few(text)
        content = json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_whole)
        _require_shallow(content)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"cannot be read as JSON ({error})", place=path, remedy="Restore the file or fix it."
        ) from error
    return content


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _finite(digits: str) -> float:
    """The number; raises ValueError where it is too large, as Python would read infinity."""
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:20]} is too large a number")
    return value


def _whole(digits: str) -> int:
    _finite(digits)  # other programs that read the reports may have floats only
    return int(digits)


def _require_few(text: str) -> None:
    """Raise ValueError where the text has too many values, counted by the characters that precede them."""
    if sum(map(text.count, "[{,")) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES / 1e6:.1f} million values")


def _require_shallow(content: object) -> None:
    """Raise ValueError where objects and arrays are nested too deeply; goes level by level, without recursion."""
    level = [content]
    for _ in range(DEEPEST + 1):
        containers = [each for each in level if isinstance(each, dict | list)]
        if not containers:
            return
        level = [item for each in containers for item in (each.values() if isinstance(each, dict) else each)]
    raise ValueError(f"nested more than {DEEPEST} deep")
