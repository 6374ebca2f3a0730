"""Errors as values: their fields, how they read, how they travel, and names that are nearly right."""

import pickle
from typing import Any

import pytest

from htcnns import errors
from htcnns.errors import (
    DeviceError,
    HtcnnsError,
    InputError,
    OutputError,
    SettingsError,
    WeightsError,
    did_you_mean,
    require_known,
    shown,
)

KINDS = (SettingsError, InputError, WeightsError, DeviceError, OutputError)
FLAGS = {"on_failure": "--on-failure", "overlap": "--overlap"}
FULL: dict[str, Any] = {
    "place": "BraTS-GLI-00001-000",
    "setting": "overlap",
    "found": 1.5,
    "expected": "0 <= x < 1",
    "remedy": "Use a smaller number.",
}


def _fields(error: HtcnnsError) -> dict[str, object]:
    names = ("problem", "place", "setting", "found", "expected", "remedy")
    return {name: getattr(error, name) for name in names}


def test_an_error_keeps_its_parts_as_text() -> None:
    error = SettingsError("out of range", **FULL)
    assert _fields(error) == {"problem": "out of range", **FULL, "found": "1.5"}


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({}, "no brain found."),
        ({"place": "a.nii"}, "a.nii: no brain found."),
        ({"setting": "overlap"}, "overlap: no brain found."),
        ({"place": "a.nii", "setting": "overlap"}, "overlap: a.nii: no brain found."),
        ({"found": 3}, "no brain found; found 3."),
        ({"expected": "a head"}, "no brain found; expected a head."),
        ({"found": 0, "expected": 1}, "no brain found; found 0, expected 1."),
        ({"remedy": "Give another."}, "no brain found. Give another."),
        ({"found": 3, "remedy": "Give another."}, "no brain found; found 3. Give another."),
    ],
    ids=lambda part: "+".join(part) if isinstance(part, dict) else "",
)
def test_a_sentence_has_only_the_given_parts(parts: dict, sentence: str) -> None:
    assert str(InputError("no brain found", **parts)) == sentence


def test_a_sentence_has_all_four_parts() -> None:
    error = SettingsError("out of range", **FULL)
    expected = "{}: BraTS-GLI-00001-000: out of range; found 1.5, expected 0 <= x < 1. Use a smaller number."
    assert error.sentence() == str(error) == expected.format("overlap")
    assert error.sentence(FLAGS.__getitem__) == expected.format("--overlap")


def test_without_a_setting_the_door_is_not_asked_to_rename_one() -> None:
    assert InputError("no brain found").sentence(FLAGS.__getitem__) == "no brain found."


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_pickling(kind: type[HtcnnsError]) -> None:
    error = kind("out of range", **FULL)
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert _fields(copy) == _fields(error)
    assert str(copy) == str(error)


def test_a_place_is_put_before_the_existing_one() -> None:
    error = InputError("no voxels", place="a.nii", remedy="Give another.")
    placed = error.at("case 1")
    assert str(placed) == "case 1: a.nii: no voxels. Give another."
    assert str(error) == "a.nii: no voxels. Give another."
    assert type(placed) is InputError


def test_a_place_is_put_where_there_was_none() -> None:
    assert InputError("no voxels").at("case 1").place == "case 1"


def test_the_first_place_is_not_repeated() -> None:
    placed = InputError("no voxels").at("case 1").at("a.nii")
    assert placed.at("a.nii") is placed
    assert placed.at("case 1").place == "case 1: a.nii: case 1"
    assert InputError("no voxels", place="case 10").at("case 1").place == "case 1: case 10"


def test_a_mistake_inside_a_file_keeps_its_setting_only_as_a_place() -> None:
    error = SettingsError("out of range", place="unet", setting="window", found="3")
    other = error.inside("manifest.json", kind=WeightsError, remedy="Correct the manifest.")
    assert type(other) is WeightsError
    assert str(other) == "manifest.json: unet: window: out of range; found 3. Correct the manifest."
    assert other.setting == ""
    assert error.inside(kind=WeightsError).places == ("unet", "window")


def test_an_error_with_a_note_survives_pickling() -> None:
    error = InputError("no voxels", place=("case 1", "a.nii"), remedy="Give another.")
    error.add_note("seen while testing")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.places) == ("case 1: a.nii: no voxels. Give another.", ("case 1", "a.nii"))


def test_every_kind_has_its_own_exit_code() -> None:
    codes = [kind.exit_code for kind in (HtcnnsError, *KINDS)]
    others = [errors.EXIT_DONE, errors.EXIT_CASE_FAILED, errors.EXIT_INTERRUPTED, errors.EXIT_TERMINATED]
    assert codes == [1, 2, 3, 4, 5, 6]
    assert others == [0, 7, 130, 143]


def test_a_known_name_is_accepted() -> None:
    require_known("mean", ("staple", "mean"), what="fusion")


def test_an_unknown_name_lists_the_known_ones_and_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="unknown") as caught:
        require_known("Stapel", ("staple", "mean"), what="fusion", setting="fusion", place="run")
    assert str(caught.value) == (
        "fusion: run: unknown fusion 'Stapel'; expected one of staple, mean. Did you mean 'staple'?"
    )


def test_a_name_close_to_none_asks_the_user_to_choose() -> None:
    with pytest.raises(
        SettingsError, match=r"^unknown fusion 'x'; expected one of staple, mean\. Choose one of them\.$"
    ):
        require_known("x", ("staple", "mean"), what="fusion")


@pytest.mark.parametrize(
    "value",
    [None, 1.5, "größe", b"\x00", [1, "a"], {"a": [0.5, {"b": ()}]}, (1,), {3}, list(range(20))],
    ids=repr,
)
def test_a_short_value_is_shown_as_it_is(value: object) -> None:
    assert shown(value) == repr(value)


@pytest.mark.parametrize(
    "value",
    ["a" * 81, [0] * 1000, 10**100, dict.fromkeys("abcdefghijklmnopqrst")],
    ids=lambda each: type(each).__name__,
)
def test_only_the_beginning_of_a_long_value_is_shown(value: object) -> None:
    assert shown(value) == f"{repr(value)[:79]}…"


def nested(n: int, times: int) -> list:
    """A list with n levels of lists in it; each holds the next one `times` times."""
    value: list = []
    for _ in range(n):
        value = [value] * times
    return value


def in_itself() -> list:
    value: list = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (nested(100_000, 1), "[[[[...]]]]"),
        (nested(100, 2), "[[[[...], [...]], [[...], [...]]], [[[...], [...]], [[...], [...]]]]"),
        (nested(100, 1000), f"[[[{'[...], ' * 11}"[:79] + "…"),
        (in_itself(), "[[[[...]]]]"),
    ],
    ids=["100,000 deep", "a hundred times in itself", "a thousand times each", "in itself"],
)
def test_only_the_outermost_levels_of_a_nested_value_are_shown(value: list, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("name", "nearest"), [("unt", "unet"), ("UNET", "unet"), ("transbs", "transbts"), ("axialunet", "axial_unet")]
)
def test_did_you_mean_names_the_nearest(name: str, nearest: str) -> None:
    assert did_you_mean(name, ["unet", "transbts", "axial_unet"]) == f"Did you mean {nearest!r}?"
