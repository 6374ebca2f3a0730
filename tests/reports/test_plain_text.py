"""Names that others chose, in each kind of output: shown as they are, and never obeyed."""

import pytest

from htcnns.reports.plain_text import csv_cell, from_csv_cell, markdown_cell, one_line

HARMLESS = "BraTS2021_00495 café 脚"


@pytest.mark.parametrize("shown", [one_line, csv_cell, markdown_cell])
def test_an_ordinary_name_stays_as_it_is(shown: object) -> None:
    assert shown(HARMLESS) == HARMLESS  # type: ignore[operator]


@pytest.mark.parametrize("shown", [one_line, csv_cell])
@pytest.mark.parametrize(
    ("text", "says"),
    [("a\x1b[2Jb", "a\\x1b[2Jb"), ("a\rb", "a\\rb"), ("a\nb", "a\\nb"), ("a\u202egnp", "a\\u202egnp")],
    ids=["ESC", "CR", "line end", "turned round"],
)
def test_commands_and_invisible_characters_become_escapes(shown: object, text: str, says: str) -> None:
    assert shown(text) == says  # type: ignore[operator]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "＝1"])
def test_a_formula_becomes_text_for_a_spreadsheet(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "text", ["a\x1b[2Jb", "a\r\n\tb", "a\u202egnp", "\U000e0041", "=1+1", "'a", "caf\udce9", "a\\b", r"\x41 \u1"]
)
def test_text_survives_a_round_trip_through_a_cell(text: str) -> None:
    assert from_csv_cell(csv_cell(text)) == text


def test_a_backslash_before_an_n_is_read_as_a_line_end() -> None:
    assert from_csv_cell(csv_cell(r"a\n")) == "a\n"


@pytest.mark.parametrize("text", ["a=b", " =1", "1-2"])
def test_signs_inside_a_cell_are_not_a_formula(text: str) -> None:
    assert csv_cell(text) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a|b", r"a\|b"),
        ("<b>", r"\<b\>"),
        ("[x](y)", r"\[x\](y)"),
        ("*x* _y_ `z`", r"\*x\* \_y\_ \`z\`"),
        ("&lt;", r"\&lt;"),
        ("a\\", r"a\\"),
        ("a\x1bb", r"a\\x1bb"),
        (":skull:", ":<!-- -->skull:"),
    ],
    ids=["bar", "tag", "link", "emphasis", "entity", "backslash", "ESC", "emoji"],
)
def test_markup_is_escaped_in_markdown(text: str, says: str) -> None:
    assert markdown_cell(text) == says
