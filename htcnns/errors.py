"""What a user can do wrong, as values: place or setting, problem, found, expected, remedy, and the exit code.

An error formats its own message. Inner rooms call a setting by its Python name (`on_failure`); a door with another name
for it, such as a flag, passes that to `sentence`. No code edits the message of an error as text.
"""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from reprlib import Repr
from typing import Self, TypeVar

EXIT_DONE = 0
EXIT_CASE_FAILED = 7
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

_Kind = TypeVar("_Kind", bound="HtcnnsError")
_LONGEST_SHOWN = 80
_SHORT = Repr()  # its limits stop it on values that are nested endlessly or share parts many times over
_SHORT.maxlevel = 3
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = _SHORT.maxset = _LONGEST_SHOWN // 3  # "0, " is the shortest item
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 3 * _LONGEST_SHOWN  # Repr cuts the middle out, `shown` the end


class HtcnnsError(Exception):
    """A mistake that a person can correct.

    Args:
        problem: what is wrong, without a full stop.
        place: file, folder, case or part of one that is concerned, or several from the outside in; "" for none.
        setting: Python name of the setting that is wrong or missing; "" for none.
        found, expected: actual value and what it should be; "" where `problem` already says it.
        remedy: what to do, one or two whole sentences; settings by their plain names, never a flag.
    """

    exit_code = 1

    def __init__(
        self,
        problem: str,
        *,
        place: object = "",
        setting: str = "",
        found: object = "",
        expected: object = "",
        remedy: str = "",
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.places = tuple(map(str, filter(None, place if isinstance(place, tuple) else (place,))))
        self.setting = setting
        self.found, self.expected = str(found), str(expected)
        self.remedy = remedy

    def __str__(self) -> str:
        return self.sentence()

    def __reduce__(self) -> tuple:
        return _rebuilt, (type(self), self.problem, self.places, self.setting, self.found, self.expected, self.remedy)

    @property
    def place(self) -> str:
        """The places as people read them, from the outside in."""
        return ": ".join(self.places)

    def sentence(self, name_of: Callable[[str], str] = str) -> str:
        """The error as people read it: "setting: place: problem; found …, expected …. Remedy."

        Args:
            name_of: function from a setting's Python name to the reader's name for it.
        """
        where = "".join(f"{part}: " for part in (self.setting and name_of(self.setting), self.place) if part)
        against = [f"{word} {part}" for word, part in (("found", self.found), ("expected", self.expected)) if part]
        what = "; ".join([self.problem, *([", ".join(against)] if against else [])])
        return f"{where}{what}. {self.remedy}".rstrip()

    def at(self, place: object) -> Self:
        """The same error with a place before its own; the error itself if that is already its first place."""
        if self.places[:1] == (str(place),):
            return self
        return type(self)(
            self.problem,
            place=(place, *self.places),
            setting=self.setting,
            found=self.found,
            expected=self.expected,
            remedy=self.remedy,
        )

    def inside(self, *places: object, kind: type[_Kind], remedy: str | None = None) -> _Kind:
        """The same mistake inside these places, such as a file; its setting becomes a place, as it is not the reader's.

        Args:
            kind: class of the new error.
            remedy: another remedy; None keeps this one.
        """
        return kind(
            self.problem,
            place=(*places, *self.places, self.setting),
            found=self.found,
            expected=self.expected,
            remedy=self.remedy if remedy is None else remedy,
        )


class SettingsError(HtcnnsError):
    """A setting that does not exist or has an impossible value."""

    exit_code = 2


class InputError(HtcnnsError):
    """A folder, case or file that cannot be used as it is."""

    exit_code = 3


class WeightsError(HtcnnsError):
    """A manifest or weights file that is missing, damaged or for another network."""

    exit_code = 4


class DeviceError(HtcnnsError):
    """A device or precision that this machine does not have."""

    exit_code = 5


class DeviceMemoryError(DeviceError):
    """A device without enough memory for what is computed at once; less at once may fit."""


class OutputError(HtcnnsError):
    """A folder that cannot be written, or a disk that is full."""

    exit_code = 6


class TakenError(OutputError):
    """One file that cannot be written because of what already has its name; others in its folder can be."""


def is_of_the_disk(error: Exception) -> bool:
    """Whether the cause is a full or unwritable disk, so that no case could be written."""
    return isinstance(error, OutputError) and not isinstance(error, TakenError)


def require_known(
    name: str, known: Iterable[object], *, what: str, setting: str = "", place: object = "", remedy: str = ""
) -> None:
    """Raise SettingsError unless `name` is a known one; the error lists the known ones and names the nearest.

    Args:
        what: kind of thing that is named, such as "fusion".
        remedy: what to do, if the nearest name would be a wrong answer; "" suggests the nearest.
    """
    names = [str(item) for item in known]
    if name not in names:
        raise SettingsError(
            f"unknown {what} {name!r}",
            place=place,
            setting=setting,
            expected=f"one of {', '.join(names)}",
            remedy=remedy or did_you_mean(name, names),
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy for an unknown name: the nearest known one, or else the advice to choose one of them."""
    by_lower = {each.lower(): each for each in known}
    nearest = get_close_matches(name.lower(), by_lower, n=1)
    return f"Did you mean {by_lower[nearest[0]]!r}?" if nearest else "Choose one of them."


def shown(value: object) -> str:
    """A found value for a message: its repr, cut if it is long, as a file from elsewhere may contain anything."""
    text = _SHORT.repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"


def _rebuilt(kind: type[HtcnnsError], problem: str, places: tuple[str, ...], *rest: str) -> HtcnnsError:
    """The error with those fields; called when unpickling."""
    return kind(problem, place=places, **dict(zip(("setting", "found", "expected", "remedy"), rest, strict=True)))
