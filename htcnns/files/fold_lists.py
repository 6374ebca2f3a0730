"""Lists of folds: read from CSV or from JSON in the format of the SwinUNETR scripts, and written as CSV."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from htcnns.errors import InputError
from htcnns.files.atomic import write_whole
from htcnns.files.json_file import read_json
from htcnns.files.names.words import stem
from htcnns.reports.plain_text import csv_cell, from_csv_cell

_EXPECTED = 'CSV with the columns "case" and "fold", or JSON {"training": [{"fold": 0, "image": [...], "label": ...}]}'
_REMEDY = "Correct the list."


@dataclass(frozen=True)
class Listed:
    """One line of a list.

    Attributes:
        names: possible names of the case: the stem of its first file and each folder in that file's path.
        fold: number of the fold that holds it out; None for a case that every fold trains on.
    """

    names: frozenset[str]
    fold: int | None


def read_fold_list(path: Path) -> tuple[Listed, ...]:
    """The lines of a list, which is JSON where its name ends in .json, else CSV.

    JSON entries need not have a fold, as in the SwinUNETR scripts.

    Raises:
        InputError: the file cannot be read, is no such list, or has no line.
    """
    lines = _json_lines(path) if path.suffix.lower() == ".json" else _csv_lines(path)
    listed = tuple(_listed(names, fold, path) for names, fold in lines)
    if not listed:
        raise InputError("lists no cases", place=path, expected=_EXPECTED, remedy=_REMEDY)
    return listed


def write_fold_list(path: Path, fold_of: Mapping[str, int]) -> None:
    """Write cases and their folds as CSV, sorted by name; `read_fold_list` reads it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("case", "fold"))
    writer.writerows((csv_cell(case), fold) for case, fold in sorted(fold_of.items()))
    write_whole(path, text.getvalue().encode(errors="surrogateescape"))


def read_patients(path: Path) -> dict[str, str]:
    """The patient of each case, by its name, from a CSV with the columns "case" and "patient".

    Raises:
        InputError: the file cannot be read, or a line lacks a case or a patient.
    """
    return {row["case"]: row["patient"] for row in _rows(path, ("case", "patient"))}


def _json_lines(path: Path) -> list[tuple[Any, Any]]:
    content = read_json(path)
    entries = content.get("training") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError("is not a list of folds", place=path, expected=_EXPECTED, remedy=_REMEDY)
    return [(entry.get("label") or entry.get("image"), entry.get("fold")) for entry in entries]


def _csv_lines(path: Path) -> list[tuple[str, str]]:
    return [(row["case"], row["fold"]) for row in _rows(path, ("case", "fold"))]


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            rows = list(csv.DictReader(file))
    except (OSError, csv.Error) as error:
        raise InputError(f"cannot be read ({error})", place=path, remedy=_REMEDY) from error
    for number, row in enumerate(rows, start=2):
        for column in columns:
            if not row.get(column):
                raise InputError(
                    f"line {number} has no {column}",
                    place=path,
                    expected=f"columns {', '.join(columns)}",
                    remedy=_REMEDY,
                )
    return rows


def _listed(named: Any, fold: Any, path: Path) -> Listed:
    """One line, from the path of a file or the name of a case; the first one counts where it is a list."""
    first = named[0] if isinstance(named, list) and named else named
    if not isinstance(first, str) or not (fold is None or str(fold).isdecimal()):
        raise InputError(
            "has a line without a case or a fold",
            place=path,
            found=f"case {first!r}, fold {fold!r}",
            expected=_EXPECTED,
            remedy=_REMEDY,
        )
    return Listed(_names(first) | _names(from_csv_cell(first)), None if fold is None else int(str(fold)))


def _names(path_or_name: str) -> frozenset[str]:
    """A file's stem and each folder in its path, with either slash; without /, also the whole text as a name."""
    parts = PurePosixPath(path_or_name.replace("\\", "/")).parts
    whole = [] if "/" in path_or_name else [path_or_name]
    return frozenset([*parts[:-1], stem(parts[-1]) or parts[-1], *whole] if parts else [])
