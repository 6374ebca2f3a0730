"""Names from outside, made harmless where they are shown: one function for each kind of output.

A file name may contain terminal commands, spreadsheet formulas, markup, or characters that reverse the text. These are
escaped, so that a reader sees what is really there.
"""

import re
import unicodedata

# control characters, invisible ones such as bidirectional overrides, and ends of lines
_ESCAPED = ("Cc", "Cf", "Zl", "Zp")
_FORMULA = re.compile(r"[=+\-@＝＋－＠]")
_MARKUP = re.compile(r"[\\`*<>\[\]|&~]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
_ESCAPE = re.compile(r"\\(?:[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4})")
_EMOJI = re.compile(r":(?=[\w+-]+:)")


def one_line(text: str) -> str:
    """For a terminal: control, invisible and line-ending characters as escapes, such as \\n, \\x1b and \\u202e."""
    return "".join(
        ascii(character)[1:-1] if unicodedata.category(character) in _ESCAPED else character for character in text
    )


def csv_cell(text: str) -> str:
    """For a spreadsheet: on one line, with an apostrophe in front if it would be read as a formula."""
    line = one_line(text)
    return f"'{line}" if _FORMULA.match(line) else line


def from_csv_cell(cell: str) -> str:
    """The text that `csv_cell` made the cell from, but text that only looked like an escape is unescaped, too."""
    line = cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell
    return _ESCAPE.sub(_unescaped, line)


def markdown_cell(text: str) -> str:
    """For Markdown: on one line, with markup after backslashes and emoji codes such as :skull: broken up."""
    return _EMOJI.sub(":<!-- -->", _MARKUP.sub(r"\\\g<0>", one_line(text)))


def _unescaped(match: re.Match[str]) -> str:
    """The character that an escape stands for; the escape itself if `one_line` never writes it."""
    character = match[0].encode("ascii").decode("unicode_escape")
    return character if one_line(character) == match[0] else match[0]
