"""Fields of plain data from elsewhere, each checked to be of the expected type."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from htcnns.errors import InputError, WeightsError, shown
from htcnns.files.json_file import read_json
from htcnns.files.places import is_file
from htcnns.networks.limits import MOST_MANIFEST_BYTES

_T = TypeVar("_T")
_WORDS: Mapping[type, str] = MappingProxyType(
    {bool: "true or false", int: "a whole number", str: "a string", list: "a list", dict: "an object with fields"}
)


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file that comes with weights.

    Raises:
        WeightsError: the file is missing, cannot be read, or is not a JSON object.
    """
    if not is_file(path):
        raise WeightsError(
            f"no {path.name} there",
            place=path.parent,
            expected="plans.json and dataset.json in the folder above the fold folders",
            remedy="Put it there; nnU-Net keeps it beside the fold folders.",
        )
    try:
        content = read_json(path, most_bytes=MOST_MANIFEST_BYTES)
    except InputError as error:
        raise error.inside(kind=WeightsError) from error
    if not isinstance(content, dict):
        raise WeightsError(
            "is not a JSON object",
            place=path,
            found=shown(content),
            expected=_WORDS[dict],
            remedy="Restore the file as nnU-Net wrote it.",
        )
    return content


def field(data: Mapping, key: str, kind: type[_T], *, place: object) -> _T:
    """The value under the key, if it is of the expected type; a bool does not count as a number.

    Raises:
        WeightsError: the value is missing or of another type.
    """
    value = data.get(key)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise WeightsError(
            f"{key} is {shown(value)}" if key in data else f"{key} is missing",
            place=place,
            expected=_WORDS[kind],
            remedy="Restore the file as nnU-Net wrote it, or name the right kind.",
        )
    return value
