"""Rows of a list of cases, which is a text, CSV or JSON file."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from htcnns.errors import InputError, did_you_mean, shown
from htcnns.files.json_file import read_json
from htcnns.files.names.words import FREE_SPELLINGS
from htcnns.files.regular_file import read_regular
from htcnns.labels import SEQUENCES, Sequence

MOST_BYTES = 2**26
_CASE = "case"  # column, or key, with the case's name
_TABLES = (".csv", ".tsv")
_SEPARATORS = ",;\t"  # spreadsheets write a semicolon where the comma is the decimal point


@dataclass(frozen=True, kw_only=True)
class Row:
    """One case of a list.

    Attributes:
        where: position in the list, such as "line 7".
        case: name of the case; may be its folder instead if `files` is empty.
        files: path of each sequence for which the list has one, as written there.
    """

    where: str
    case: str
    files: dict[Sequence, str] = field(default_factory=dict)


def read_rows(path: Path) -> list[Row]:
    """The rows of a list.

    `.csv` and `.tsv` are tables with the columns case, t1n, t1c, t2w and t2f, of which only case is required; `.json`
    is an array of strings, or of objects of strings whose keys are these columns; any other file is text with one
    folder or name per line, where empty lines and lines that begin with # are skipped.

    Raises:
        InputError: the file cannot be read, is malformed, or names no case; the message gives the line or entry.
    """
    suffix = path.suffix.lower()
    read = _json_rows if suffix == ".json" else _table_rows if suffix in _TABLES else _text_rows
    rows = list(read(path))
    if not rows:
        _refuse(path, problem="names no case", expected="a folder or a name for each")
    return rows


def _text_rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield Row(where=_line(number), case=line.strip())


def _table_rows(path: Path) -> Iterator[Row]:
    text = _text(path)
    separator = max(_SEPARATORS, key=text.partition("\n")[0].count)
    table = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    columns: list[str] = []
    number = 1
    try:
        for cells in table:
            where, number = _line(number), table.line_num + 1
            if not columns:
                columns = [_column(path, where, cell) for cell in cells]
                _require_columns(path, where, columns)
            elif any(map(str.strip, cells)):
                _require_as_many(path, where, cells, columns)
                yield _row(path, where, dict(zip(columns, cells, strict=True)))
    except csv.Error as error:
        _refuse(path, _line(number), problem=f"cannot be read as CSV ({error})", expected="cells between separators")


def _json_rows(path: Path) -> Iterator[Row]:
    content = read_json(path, most_bytes=MOST_BYTES)
    if not isinstance(content, list):
        _refuse(path, problem="is not a list", found=shown(content), expected="an array")
    for number, entry in enumerate(content, 1):
        where = f"entry {number}"
        if isinstance(entry, str):
            entry = {_CASE: entry}
        if not isinstance(entry, dict) or not all(isinstance(value, str | None) for value in entry.values()):
            _refuse(
                path, where, problem="is not a case", found=shown(entry), expected="a string, or an object of strings"
            )
        columns = [_column(path, where, key) for key in entry]
        _require_columns(path, where, columns)
        yield _row(path, where, dict(zip(columns, (value or "" for value in entry.values()), strict=True)))


def _row(path: Path, where: str, cells: dict[str, str]) -> Row:
    """The row made from cells by column; raises InputError where the case has no name."""
    given = {column: text.strip() for column, text in cells.items()}
    if not given[_CASE]:
        _refuse(path, where, problem="no name", expected=f"one in {_CASE}, as the mask is named after it")
    return Row(where=where, case=given[_CASE], files={each: given[each] for each in SEQUENCES if given.get(each)})


def _column(path: Path, where: str, name: str) -> str:
    """The column with that name; sequences may be spelt in any way that file names may spell them."""
    plain = name.strip().lower()
    if plain == _CASE:
        return _CASE
    if plain not in FREE_SPELLINGS:
        raise InputError(
            f"unknown column {shown(name)}",
            place=(path, where),
            expected=f"one of {_CASE}, {', '.join(SEQUENCES)}",
            remedy=did_you_mean(plain, (_CASE, *FREE_SPELLINGS)),
        )
    return FREE_SPELLINGS[plain]


def _require_columns(path: Path, where: str, columns: list[str]) -> None:
    if _CASE not in columns or len(set(columns)) < len(columns):
        problem = "a column occurs twice" if _CASE in columns else f"no column {_CASE}"
        _refuse(path, where, problem=problem, found=", ".join(columns), expected=f"{_CASE}, {', '.join(SEQUENCES)}")


def _require_as_many(path: Path, where: str, cells: list[str], columns: list[str]) -> None:
    if len(cells) != len(columns):
        _refuse(path, where, problem="wrong number of cells", found=len(cells), expected=f"{len(columns)} as above")


def _text(path: Path) -> str:
    """The file as text; bytes that are not UTF-8 are decoded as Python decodes those of paths."""
    return read_regular(path, most_bytes=MOST_BYTES).decode("utf-8-sig", errors="surrogateescape")


def _line(number: int) -> str:
    return f"line {number}"


def _refuse(path: Path, *where: str, problem: str, found: object = "", expected: str) -> NoReturn:
    raise InputError(problem, place=(path, *where), found=found, expected=expected, remedy="Correct the list.")
