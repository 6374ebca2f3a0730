"""The outcome of one case: plain values for reports and for people."""

import traceback
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from htcnns.errors import HtcnnsError
from htcnns.reports.plain_text import one_line


class State(StrEnum):
    """What a run did with a case."""

    DONE = "done"
    KEPT = "kept"
    FAILED = "failed"
    NOT_STARTED = "not started"


@dataclass(frozen=True, kw_only=True)
class MemberFinding:
    """What one member found in a case, after clean-up.

    Attributes:
        name: member's name.
        volumes_ml: volume by region name, on the 1 mm grid of the networks.
        largest: highest probability of each region anywhere, before clean-up.
        sensitivity, specificity: the fusion's estimates by region name; None where undefined.
        dice: Dice with the fusion by region name, on the networks' grid; 1 where neither has a voxel.
        n_cleaned: number of voxels that clean-up moved to another label.
    """

    name: str
    volumes_ml: dict[str, float]
    largest: dict[str, float]
    sensitivity: dict[str, float | None]
    specificity: dict[str, float | None]
    dice: dict[str, float]
    n_cleaned: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of one case.

    Attributes:
        case: name of the case.
        state: done, kept (finished by an earlier run), failed or not started.
        mask: file that was written or kept; None without one.
        error: sentence on why it failed; empty otherwise.
        trace: traceback of a failure; empty otherwise.
        label_set: name of the label set of the mask.
        labels: file number by label name.
        volumes_ml: volume by region name, on the grid of the mask.
        label_volumes_ml: volume by label name.
        members: findings of each member.
        missing: sequences that the case lacks.
        notes: sentences that a person should read.
        seconds: wall time from the first window to the written files.
        forward_s: part of `seconds` spent inside the networks.
        n_windows: number of windows that the networks saw.
        steps_s: wall time of each step by name, including steps done while reading ahead.
    """

    case: str
    state: State
    mask: Path | None = None
    error: str = ""
    trace: str = ""
    label_set: str = ""
    labels: dict[str, int] = field(default_factory=dict)
    volumes_ml: dict[str, float] = field(default_factory=dict)
    label_volumes_ml: dict[str, float] = field(default_factory=dict)
    members: tuple[MemberFinding, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    forward_s: float = 0.0
    n_windows: int = 0
    steps_s: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """An error as text, which keeps none of the case's data alive."""

    sentence: str
    trace: str


def failure_of(case_name: str, error: Exception) -> Failure:
    """The error as one line that starts with the case's name, line ends in names escaped, and its traceback."""
    if isinstance(error, HtcnnsError):
        sentence = error.at(case_name).sentence()
    else:
        said = " ".join(str(error).split())  # errors of libraries may have several lines
        sentence = f"{case_name}: {type(error).__name__}: {said}"
    return Failure(one_line(sentence), "".join(traceback.format_exception(error)))
