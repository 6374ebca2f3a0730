"""JSON files read strictly: UTF-8, none of the numbers that JSON does not have, and not nested without end."""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

from htcnns.errors import InputError
from htcnns.files.regular_file import read_regular

MOST_BYTES = 2**26
MOST_VALUES = 2**21  # of all objects and arrays; 5 million empty arrays in 16 MiB took 4 s; a report of a case has 100
DEEPEST = 32  # objects and arrays inside each other; what is read is also written into reports, level by level


def read_json(path: Path, *, most_bytes: int = MOST_BYTES) -> Any:
    """The content of a JSON file as plain data.

    Raises:
        InputError: a file that cannot be read, is too large or is not JSON; NaN, Infinity, numbers too large for a
            float, what is nested deeper than DEEPEST and more than MOST_VALUES are not.
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
    """The number, which Python would read as infinity where it is too large."""
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:20]} is too large a number")
    return value


def _whole(digits: str) -> int:
    _finite(digits)  # others that read the reports have floats only
    return int(digits)


def _require_few(text: str) -> None:
    """Raise ValueError where the text holds too many values, by the characters that stand before each."""
    if sum(map(text.count, "[{,")) > MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES / 1e6:.1f} million values")


def _require_shallow(content: object) -> None:
    """Raise ValueError where objects and arrays lie too deep inside each other; goes level by level, not by calls."""
    level = [content]
    for _ in range(DEEPEST + 1):
        containers = [each for each in level if isinstance(each, dict | list)]
        if not containers:
            return
        level = [item for each in containers for item in (each.values() if isinstance(each, dict) else each)]
    raise ValueError(f"nested more than {DEEPEST} deep")
