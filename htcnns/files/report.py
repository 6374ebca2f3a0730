"""The JSON report of a run."""

import json
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path

from htcnns.files.whole import write_whole


def write_report(path: Path, content: dict) -> None:
    """Write plain data, dataclasses and paths as indented JSON, as a whole file or none.

    Raises:
        OutputError: the file cannot be written.
    """
    text = json.dumps(content, indent=2, default=_plain, allow_nan=False)
    write_whole(path, (text + "\n").encode())


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Enum):
        return value.name
    raise TypeError(f"a report cannot hold {type(value).__name__}")
