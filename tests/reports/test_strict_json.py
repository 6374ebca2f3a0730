"""Strict JSON: every kind of value that reports hold, and those that they may not."""

import json
from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from htcnns.reports.strict_json import json_text


class Word(StrEnum):
    ONE = "one word"


class Number(IntEnum):
    SEVEN = 7


class Thing(Enum):
    TUPLE = (1, 2)


@dataclass(frozen=True)
class Record:
    name: str
    parts: tuple[object, ...]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (-np.float64("inf"), "-inf"),
        (np.float64(0.5), 0.5),
        (Path("a") / "b", "a/b"),
        (Word.ONE, "one word"),
        (Number.SEVEN, "SEVEN"),
        (Thing.TUPLE, "TUPLE"),
        ((1, True, None), [1, True, None]),
        (MappingProxyType({Number.SEVEN: 1, Word.ONE: 2}), {"SEVEN": 1, "one word": 2}),
        (Record("a", (Record("b", ()), Path("c"))), {"name": "a", "parts": [{"name": "b", "parts": []}, "c"]}),
    ],
    ids=str,
)
def test_values_become_what_json_has(value: object, expected: object) -> None:
    text = json_text({"value": [value]})
    assert json.loads(text, parse_constant=pytest.fail) == {"value": [expected]}


def test_numbers_are_written_in_full_and_the_text_ends_with_a_newline() -> None:
    assert json_text({"a": 0.1 + 0.2}) == '{\n  "a": 0.30000000000000004\n}\n'


def test_a_name_that_is_not_utf8_is_written_in_ascii() -> None:
    assert json_text({"path": Path("a\udcff")}).encode() == b'{\n  "path": "a\\udcff"\n}\n'


@pytest.mark.parametrize("value", [{1, 2}, np.zeros(3), b"bytes", Record], ids=["set", "array", "bytes", "class"])
def test_other_types_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match="JSON cannot hold a"):
        json_text(value)
