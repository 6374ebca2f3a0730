"""JSON files read strictly: UTF-8, and none of the numbers that JSON does not have."""

import json
from pathlib import Path
from typing import Any, NoReturn

from htcnns.errors import InputError


def read_json(path: Path) -> Any:
    """The content of a JSON file as plain data.

    Raises:
        InputError: a file that cannot be read or is not JSON; NaN and Infinity are not.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"cannot be read as JSON ({error})", place=path, remedy="Restore the file or fix it."
        ) from error


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
