"""Tables as CSV, Markdown and JSON: text out of columns and rows, whatever they hold."""

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """A titled table; every row has one cell per column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def csv_text(table: Table) -> str:
    """The table as CSV with a header line; numbers in full, None as an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return out.getvalue()


def markdown_text(tables: Sequence[Table]) -> str:
    """The tables as Markdown, each under its title, numbers rounded for reading."""
    return "\n".join(_markdown(table) for table in tables)


def shown_rows(table: Table) -> list[list[str]]:
    """The rows as a person reads them: `shown` of every cell."""
    return [[shown(cell, column) for cell, column in zip(row, table.columns, strict=True)] for row in table.rows]


def shown(cell: Cell, column: str) -> str:
    """A cell for reading: two decimals for mm and ml, four for other fractions, whole numbers bare, a dash for none."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "–"
    if isinstance(cell, float):
        if math.isinf(cell) or (cell.is_integer() and column.startswith("n_")):
            return f"{cell:g}"
        return f"{cell:.2f}" if column.endswith(("mm", "ml")) or "hd95" in column else f"{cell:.4f}"
    return str(cell)


def json_text(value: object) -> str:
    """Strict JSON: NaN and infinity, which JSON does not have, become the words "nan" and "inf"."""
    return json.dumps(_plain(value), indent=1, allow_nan=False) + "\n"


def _markdown(table: Table) -> str:
    lines = [f"### {table.title}", "", _line(table.columns), _line(["---"] * len(table.columns))]
    return "\n".join([*lines, *(_line(row) for row in shown_rows(table)), ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
