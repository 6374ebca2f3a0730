"""The course of a fit as CSV: its curves, and its Dice on cases that it is not trained on."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TypeVar

from htcnns.errors import InputError
from htcnns.files.atomic import require_writable, write_whole
from htcnns.files.places import exists
from htcnns.reports.plain_text import csv_cell, from_csv_cell

_Point = TypeVar("_Point")


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """A stretch of steps of a fit.

    Attributes:
        step: last step.
        loss: mean loss.
        learning_rate: learning rate of the last step.
        seconds, waited: mean seconds per step, and how many of them were spent waiting for data.
        skipped: number of steps not taken because a gradient was not finite.
    """

    step: int
    loss: float
    learning_rate: float
    seconds: float
    waited: float
    skipped: int


@dataclass(frozen=True)
class CaseDice:
    """Whole-mask Dice of a case after `step` steps of a fit, by region name; only regions that the truth annotates."""

    step: int
    case: str
    dice: Mapping[str, float]


def write_curves(path: Path, points: Iterable[CurvePoint]) -> None:
    """Write the points of a fit's curves as CSV.

    Raises:
        OutputError: the file cannot be written.
    """
    _write(path, [field.name for field in fields(CurvePoint)], map(astuple, points))


def read_curves(path: Path, *, up_to: int) -> list[CurvePoint]:
    """The points up to that step; none where there is no such file.

    Raises:
        InputError: the file cannot be read or holds something else.
    """
    return [point for point in _read(path, _curve_point) if point.step <= up_to]


def write_validation(path: Path, points: Iterable[CaseDice], regions: Sequence[str]) -> None:
    """Write a row for each step and case, with a column for each region; empty where the truth does not annotate it.

    Raises:
        OutputError: the file cannot be written.
    """
    rows = ([point.step, point.case, *(point.dice.get(region, "") for region in regions)] for point in points)
    _write(path, ["step", "case", *regions], rows)


def read_validation(path: Path, *, up_to: int) -> list[CaseDice]:
    """The rows up to that step; none where there is no such file.

    Raises:
        InputError: the file cannot be read or holds something else.
    """
    return [point for point in _read(path, _case_dice) if point.step <= up_to]


def _write(path: Path, names: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([csv_cell(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    require_writable(path.parent)
    write_whole(path, text.getvalue().encode(errors="surrogateescape"))


def _read(path: Path, point: Callable[[dict[str, str]], _Point]) -> list[_Point]:
    if not exists(path):
        return []
    try:
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return [point(row) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise InputError(f"holds no curves ({error})", place=path, remedy="Delete it.") from error


def _curve_point(row: dict[str, str]) -> CurvePoint:
    return CurvePoint(
        step=int(row["step"]),
        loss=float(row["loss"]),
        learning_rate=float(row["learning_rate"]),
        seconds=float(row["seconds"]),
        waited=float(row["waited"]),
        skipped=int(row["skipped"]),
    )


def _case_dice(row: dict[str, str]) -> CaseDice:
    dice = {name: float(text) for name, text in row.items() if name not in ("step", "case") and text}
    return CaseDice(int(row["step"]), from_csv_cell(row["case"]), dice)
