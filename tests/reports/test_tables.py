"""Tables as text: full numbers for programs, rounded ones for people."""

import math

import pytest

from htcnns.reports.tables import Cell, Heading, Table, csv_text, markdown_text, shown, table_records

TABLE = Table(
    "Scores",
    (Heading("case"), Heading("dice"), Heading("hd95_mm", 2), Heading("n_fp", 0)),
    (("a|b", 0.123456, 1.5, 3.0), ("c", math.nan, math.inf, None)),
)


@pytest.mark.parametrize(
    ("cell", "decimals", "text"),
    [
        (0.5, 4, "0.5000"),
        (374.0, 2, "374.00"),
        (3.0, 0, "3"),
        (3, 4, "3"),
        ("x", 4, "x"),
        (math.inf, 2, "inf"),
        (None, 4, "–"),
        (math.nan, 0, "–"),
    ],
    ids=str,
)
def test_cells_are_formatted_for_reading(cell: Cell, decimals: int, text: str) -> None:
    assert shown(cell, decimals=decimals) == text


def test_csv_has_numbers_in_full() -> None:
    assert csv_text(TABLE) == "case,dice,hd95_mm,n_fp\na|b,0.123456,1.5,3.0\nc,nan,inf,\n"


def test_markdown_is_rounded_and_escapes_bars() -> None:
    lines = markdown_text([TABLE]).splitlines()
    assert lines[0] == "### Scores"
    assert lines[2:] == [
        "| case | dice | hd95_mm | n_fp |",
        "| --- | --- | --- | --- |",
        r"| a\|b | 0.1235 | 1.50 | 3 |",
        "| c | – | inf | – |",
    ]


def test_records_are_rows_by_column_name() -> None:
    assert table_records(TABLE)[0] == {"case": "a|b", "dice": 0.123456, "hd95_mm": 1.5, "n_fp": 3.0}


HOSTILE = Table("A [b](c)", (Heading("case"), Heading("change")), (("=cmd()", -0.5), ("x\x1b\r:skull:", -1)))


def test_csv_holds_no_formula_and_no_control_character_and_numbers_keep_their_sign() -> None:
    assert csv_text(HOSTILE) == "case,change\n'=cmd(),-0.5\nx\\x1b\\r:skull:,-1\n"


def test_markdown_shows_names_and_titles_as_they_are() -> None:
    lines = markdown_text([HOSTILE]).splitlines()
    assert lines[0] == r"### A \[b\](c)"
    assert lines[-1] == r"| x\\x1b\\r:<!-- -->skull: | -1 |"
