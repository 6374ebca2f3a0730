"""Argument types of the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from htcnns.errors import InputError, SettingsError, require_known
from htcnns.labels import SPELLINGS, Sequence


def path(text: str) -> Path:
    """The path that an argument names; an empty one is refused, as it would be the current folder."""
    if not text:
        raise typer.BadParameter("an empty string; expected a path")
    return Path(text)


InputFolder = Annotated[Path, typer.Argument(metavar="IN", help="Folder of cases, or one case.", parser=path)]
Channels = Annotated[str, typer.Option(help="Sequences of nnU-Net's 0000, 0001 ..., such as t1n,t1c,t2w,t2f.")]
WeightsFolder = Annotated[
    Path | None,
    typer.Option("--weights", help="Folder with manifest.json, or the name of another shipped set.", parser=path),
]


def names(text: str, *, setting: str) -> tuple[str, ...]:
    """The comma-separated names; () if the text is empty."""
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if text and not found:
        raise SettingsError(
            "no name",
            setting=setting,
            found=repr(text),
            expected="names separated by commas",
            remedy="Name at least one, or leave it out.",
        )
    return found


def sequences(text: str, *, setting: str = "channels") -> tuple[Sequence, ...] | None:
    """Sequences from "t1n,t1c,t2w,t2f" in any spelling; None when no text was given."""
    spellings = names(text.lower(), setting=setting)
    for name in spellings:
        require_known(name, SPELLINGS, what="sequence", setting=setting)
    found = tuple(SPELLINGS[name] for name in spellings)
    if len(set(found)) < len(found):
        raise SettingsError(
            "a sequence occurs twice",
            setting=setting,
            found=", ".join(found),
            expected="each sequence once",
            remedy="Name each once, such as t1n,t1c,t2w,t2f.",
        )
    return found or None


def require_none(problem: str, remedy: str, **settings: object) -> None:
    """Raise SettingsError with that problem if one of these settings is given, as it would have no effect."""
    for setting, value in settings.items():
        if value:
            raise SettingsError(problem, setting=setting, remedy=remedy)


@contextmanager
def no_channels() -> Iterator[None]:
    """Inside, errors about nnU-Net's channels point to dataset.json only, as the command has no option for them."""
    try:
        yield
    except InputError as error:
        if error.setting != "channels":
            raise
        remedy = "Name each channel in a dataset.json there: T1, T1ce, T2 or FLAIR."
        places = error.places
        raise InputError(
            error.problem, place=places, found=error.found, expected=error.expected, remedy=remedy
        ) from error
