"""Recipes written as TOML and read back: every setting is written, and unknown settings are refused."""

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from enum import Enum
from types import MappingProxyType
from typing import Any, TypeVar

from htcnns.errors import HtcnnsError, SettingsError, require_known
from htcnns.files.prepared_cases import CaseKind
from htcnns.image.member_input import Preprocessing
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import REGION_SETS, RegionSet, Sequence
from htcnns.networks.contract import Head
from htcnns.training.augment import Augmentation
from htcnns.training.recipes import Addition, MemberRecipe, Recipe, Round

_T = TypeVar("_T")


def recipe_toml(recipe: Recipe) -> str:
    """The recipe as TOML, which `recipe_of` reads back to the same recipe."""
    return _table(recipe_data(recipe), "").strip() + "\n"


def recipe_data(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain data, ready for TOML or JSON."""
    return {field.name: _plain(getattr(recipe, field.name)) for field in fields(recipe)}


def recipe_of(data: Mapping[str, Any], *, place: object) -> Recipe:
    """The recipe that plain data describe; missing settings take their defaults.

    Args:
        place: name of the file, for messages.

    Raises:
        SettingsError: an unknown setting, a missing one without a default, or an impossible value.
    """
    try:
        return _read(Recipe, data)
    except HtcnnsError as error:
        raise error.inside(place, kind=SettingsError) from error


def _plain(value: Any) -> Any:
    """The value with dataclasses, tuples, enums and mappings converted to TOML's types."""
    if isinstance(value, RegionSet):
        return value.name
    if isinstance(value, Enum):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value


def _table(data: dict[str, Any], path: str) -> str:
    """A TOML table: its own values first, then the tables in it."""
    inner = {key: value for key, value in data.items() if _is_table(value) or _is_tables(value)}
    lines = [f"{key} = {_value(value)}" for key, value in data.items() if key not in inner]
    for key, value in inner.items():
        name = f"{path}{key}"
        for table in value if _is_tables(value) else [value]:
            header = f"[[{name}]]" if _is_tables(value) else f"[{name}]"
            lines.append(f"\n{header}\n{_table(table, f'{name}.')}")
    return "\n".join(lines)


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


def _is_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _value(value: Any) -> str:
    """The value as TOML; TOML strings accept JSON's escapes."""
    if isinstance(value, list):
        return f"[{', '.join(_value(item) for item in value)}]"
    if isinstance(value, bool) or not isinstance(value, float):
        return json.dumps(value, ensure_ascii=False)
    return repr(value)


def _read(kind: type[_T], data: Any) -> _T:
    """The dataclass that a table describes."""
    if not isinstance(data, Mapping):
        raise _wrong(kind.__name__, data, "a table")
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for name in data:
        require_known(name, known, what="setting", setting="recipe")
    for name, each in known.items():
        if name not in data and each.default is MISSING and each.default_factory is MISSING:
            raise SettingsError(
                "missing", setting=name, expected=f"a value for every {kind.__name__}", remedy="Add it to the recipe."
            )
    return kind(**{name: _READERS.get(name, _like_default)(name, data[name], known[name]) for name in data})


def _like_default(name: str, value: Any, field: Any) -> Any:
    """The value as a number, string, bool or pair of numbers, whichever the field's type is."""
    if field.type in (bool, "bool"):
        if not isinstance(value, bool):
            raise _wrong(name, value, "true or false")
        return value
    if field.type in (float, "float") and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    kinds = {float: float, int: int, str: str}
    wanted = kinds.get(field.type)
    if wanted is None:
        return _numbers(name, value, float, 2)
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise _wrong(name, value, {float: "a number", int: "a whole number", str: "text"}[wanted])
    return value


def _numbers(name: str, value: Any, kind: type, count: int) -> tuple:
    kinds = (int, float) if kind is float else (int,)
    if not isinstance(value, list) or len(value) != count or not all(isinstance(each, kinds) for each in value):
        raise _wrong(name, value, f"{count} numbers")
    return tuple(kind(each) for each in value)


def _shape(name: str, value: Any, _: Any = None) -> tuple:
    return _numbers(name, value, int, 3)


def _list(name: str, value: Any) -> list:
    if not isinstance(value, list):
        raise _wrong(name, value, "a list")
    return value


def _patches(name: str, value: Any, _: Any) -> tuple:
    pairs = _list(name, value)
    if not all(isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], int | float) for pair in pairs):
        raise _wrong(name, value, "pairs of a share and three edges")
    return tuple((float(share), _shape(name, shape)) for share, shape in pairs)


def _regions(name: str, value: Any, _: Any) -> RegionSet:
    require_known(str(value), REGION_SETS, what="region set", setting=name)
    return REGION_SETS[value]


def _head(name: str, value: Any, _: Any) -> Head:
    require_known(str(value), Head, what="head", setting=name)
    return Head(value)


def _size(name: str, value: Any, _: Any) -> str | Mapping[str, Any]:
    if not isinstance(value, str | Mapping):
        raise _wrong(name, value, "the name of a size, or a table of arguments")
    return value


def _sequences(name: str, value: Any, _: Any) -> tuple[Sequence, ...]:
    for each in _list(name, value):
        require_known(str(each), Sequence, what="sequence", setting=name)
    return tuple(Sequence(each) for each in value)


def _mix(name: str, value: Any, _: Any) -> Mapping[CaseKind, float]:
    if not isinstance(value, Mapping) or not all(isinstance(weight, int | float) for weight in value.values()):
        raise _wrong(name, value, "a table of weights")
    for kind in value:
        require_known(kind, CaseKind, what="kind of case", setting=name)
    return MappingProxyType({CaseKind(kind): float(weight) for kind, weight in value.items()})


def _rules(name: str, value: Any, _: Any) -> PostprocessRules:
    if not isinstance(value, Mapping):
        raise _wrong(name, value, "a table")
    return PostprocessRules.from_json(value, where=name)


def _arguments(name: str, value: Any, _: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(name, value, "a table of arguments")
    return value


def _settings(name: str, value: Any, _: Any) -> Mapping[str, float]:
    if not isinstance(value, Mapping) or not all(type(number) in (int, float) for number in value.values()):
        raise _wrong(name, value, "a table of numbers")
    return {setting: float(number) for setting, number in value.items()}


def _wrong(setting: str, found: object, expected: str) -> SettingsError:
    return SettingsError(
        "impossible value", setting=setting, found=repr(found), expected=expected, remedy="Correct the recipe."
    )


_READERS: Mapping[str, Callable[[str, Any, Any], Any]] = MappingProxyType(
    {
        "members": lambda name, value, _: tuple(_read(MemberRecipe, each) for each in _list(name, value)),
        "rounds": lambda name, value, _: tuple(_read(Round, each) for each in _list(name, value)),
        "variety": lambda _, value, __: _read(Augmentation, value),
        "preprocessing": lambda _, value, __: _read(Preprocessing, value),
        "resize": lambda name, value, _: _shape(name, value) if value != [] else (),
        "patches": _patches,
        "piece_patch": _shape,
        "window": _shape,
        "whole": _shape,
        "regions": _regions,
        "head": _head,
        "size": _size,
        "sequences": _sequences,
        "mix": _mix,
        "rules": _rules,
        "additions": lambda name, value, _: tuple(_read(Addition, each) for each in _list(name, value)),
        "arguments": _arguments,
        "settings": _settings,
    }
)
