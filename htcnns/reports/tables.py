"""Tables as CSV and Markdown: text from columns and rows of any content."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

from htcnns.reports.plain_text import csv_cell, markdown_cell

Cell = str | float | int | None


@dataclass(frozen=True)
class Heading:
    """A column's name, and the number of decimals with which its fractions are shown."""

    name: str
    decimals: int = 4


@dataclass(frozen=True)
class Table:
    """A titled table; every row has one cell per column."""

    title: str
    columns: tuple[Heading, ...]
    rows: tuple[tuple[Cell, ...], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)


def csv_text(table: Table) -> str:
    """The table as CSV with a header line; numbers in full, None as an empty cell, text never as a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.names)
    writer.writerows([csv_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in table.rows)
    return out.getvalue()


def markdown_text(tables: Sequence[Table]) -> str:
    """The tables as Markdown, each under its title, numbers rounded for reading."""
    return "\n".join(_markdown(table) for table in tables)


def table_records(table: Table) -> list[dict[str, Cell]]:
    """The rows as dicts by column name, numbers in full."""
    return [dict(zip(table.names, row, strict=True)) for row in table.rows]


def shown_rows(table: Table) -> list[list[str]]:
    """The rows as a person reads them: `shown` of every cell."""
    return [
        [shown(cell, decimals=column.decimals) for cell, column in zip(row, table.columns, strict=True)]
        for row in table.rows
    ]


def shown(cell: Cell, *, decimals: int) -> str:
    """A cell for reading: fractions with that many decimals, infinity as inf, a dash for NaN and None."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "–"
    return f"{cell:.{decimals}f}" if isinstance(cell, float) else str(cell)


def _markdown(table: Table) -> str:
    lines = [f"### {markdown_cell(table.title)}", "", _line(table.names), _line(["---"] * len(table.columns))]
    return "\n".join([*lines, *(_line(row) for row in shown_rows(table)), ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(markdown_cell, cells))} |"
