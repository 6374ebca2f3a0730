"""TOML files as plain data."""

import tomllib
from pathlib import Path
from typing import Any

from htcnns.errors import InputError


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        InputError: a file that cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read as TOML ({error})", place=path, remedy="Fix the file.") from error
