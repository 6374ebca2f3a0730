"""Strict JSON from values: run reports, evaluations and manifests by `json_text`, logs by `json_line`."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum, StrEnum
from pathlib import PurePath

_IN_MARKUP = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


def json_text(value: object) -> str:
    """The value as indented JSON that ends with a new line.

    Dataclasses become objects of their fields, tuples and lists become arrays, paths and members of a StrEnum become
    strings, members of any other enum their names. NaN and infinity, which JSON does not have, become the strings
    "nan", "inf" and "-inf", because a score that is undefined and a distance that is infinite must stay apart.

    Raises:
        TypeError: a value of any other type.
    """
    return json.dumps(_plain(value), indent=2, allow_nan=False) + "\n"


def json_line(value: object) -> str:
    """As `json_text`, on one line."""
    return json.dumps(_plain(value), allow_nan=False) + "\n"


def markup_json(value: object) -> str:
    """As `json_text`, on one line; without characters special in HTML, so that a page can embed it as it is."""
    return without_markup(json.dumps(_plain(value), allow_nan=False, separators=(",", ":")))


def without_markup(text: str) -> str:
    """JSON with `<`, `>` and `&` escaped; JSON has them only inside strings."""
    return text.translate(_IN_MARKUP)


def _plain(value: object) -> object:
    """The value in types that JSON has."""
    match value:
        case StrEnum() | PurePath():
            return str(value)
        case Enum():
            return value.name
        case float() if not math.isfinite(value):
            return str(float(value))
        case None | bool() | int() | float() | str():
            return value
        case Mapping():
            return {_key(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"JSON cannot hold a {type(value).__name__}")


def _key(key: object) -> str:
    return str(_plain(key))
