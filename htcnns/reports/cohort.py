"""All cases of a folder of reports in one list: as JSON, and as a table.

`cohort.schema.json` beside this file says what each field means; whoever changes a field raises FORMAT.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from htcnns.image.notes import Kind, kind_of
from htcnns.labels import Label, Region
from htcnns.reports.outcome import Outcome, State
from htcnns.reports.plain_text import one_line
from htcnns.reports.tables import Cell, Heading, Table

REPORT = "htcnns cohort"  # marks a file as such a report
FORMAT = 1
_ALWAYS = (Region.WT.name, Region.TC.name, Region.ET.name)


@dataclass(frozen=True, kw_only=True)
class CohortCase:
    """The list's entry for one case.

    Attributes:
        case, title, state, error, findings, notes, missing, label_set, volumes_ml, label_voxels: as in its report.
        n_lesions: number of lesions of the whole tumour; None for a case that failed or has no report.
        side: side on which the largest lesion lies; None without any.
        axial_mm, perpendicular_mm, product_mm2, largest_mm: diameters of the enhancing tumour; None without any.
        agreement: least Dice of any member with the fusion in any region; None where `n_lesions` is None.
        least_agreeing: name of that member and of that region; empty without one.
        seconds: wall time.
        mask: path of the mask; None without one.
        report, picture: names of the files in the folder; None without one.
    """

    case: str
    title: str
    state: str
    error: str = ""
    findings: tuple[Mapping[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    label_set: str = ""
    volumes_ml: Mapping[str, float]
    label_voxels: Mapping[str, int]
    n_lesions: int | None = None
    side: str | None = None
    axial_mm: float | None = None
    perpendicular_mm: float | None = None
    product_mm2: float | None = None
    largest_mm: float | None = None
    agreement: float | None = None
    least_agreeing: tuple[str, ...] = ()
    seconds: float
    mask: str | None = None
    report: str | None = None
    picture: str | None = None


def listed_record(record: Mapping[str, Any], *, report: str) -> CohortCase:
    """The list's entry for a case, from its report, which may have been edited by hand.

    Args:
        report: name of the report's file.

    Raises:
        KeyError, TypeError, ValueError: the report lacks a field, or a field has a wrong value.
    """
    diameters = record["diameters"] or {}
    agreement = _optional(record["least_dice"])
    return CohortCase(
        case=_text(record["case"]),
        title=_text(record["title"]),
        state=_state(record["state"]),
        error=_text(record["error"]),
        findings=tuple({"kind": Kind(each["kind"]), "text": _text(each["text"])} for each in record["findings"]),
        notes=tuple(map(_text, record["notes"])),
        missing=tuple(map(_text, record["missing"])),
        label_set=_text(record["label_set"]),
        volumes_ml={Region[name].name: _number(volume) for name, volume in record["volumes_ml"].items()},
        label_voxels={Label[name].name: int(_number(n)) for name, n in record["label_voxels"].items()},
        n_lesions=int(_number(record["lesions"][_ALWAYS[0]]["n"])) if record["lesions"] else None,
        side=_text(record["largest_lesion"]["side"]) if record["largest_lesion"] else None,
        axial_mm=_optional(diameters.get("axial_mm")),
        perpendicular_mm=_optional(diameters.get("perpendicular_mm")),
        product_mm2=_optional(diameters.get("product_mm2")),
        largest_mm=_optional(diameters.get("largest_mm")),
        agreement=agreement,
        least_agreeing=_least_agreeing(record["members"], agreement),
        seconds=_number(record["seconds"]["total"]),
        mask=_text(record["files"]["mask"] or "") or None,
        report=report,
        picture=_text(record["files"]["picture"] or "") or None,
    )


def listed_outcome(outcome: Outcome) -> CohortCase:
    """The list's entry for a case without a report: it could not be written, or the case was not started."""
    kinds = [(kind_of(note), one_line(note)) for note in outcome.notes]
    return CohortCase(
        case=outcome.case,
        title=one_line(outcome.case),
        state=State.DONE if outcome.state is State.KEPT else outcome.state,
        error=one_line(outcome.error),
        findings=tuple({"kind": kind, "text": text} for kind, text in kinds if kind is not Kind.REMARK),
        notes=tuple(text for kind, text in kinds if kind is Kind.REMARK),
        missing=tuple(map(str, outcome.missing)),
        label_set=outcome.label_set,
        volumes_ml=outcome.volumes_ml,
        label_voxels={},
        seconds=round(outcome.seconds, 3),
        mask=str(outcome.mask) if outcome.mask else None,
    )


def cohort_record(cases: Iterable[CohortCase], *, not_read: Iterable[str]) -> dict[str, Any]:
    """The list as plain data, sorted by case name.

    Args:
        not_read: names of JSON files in the folder that are not case reports in this format.
    """
    ordered = sorted(cases, key=lambda each: each.case)
    states = [each.state for each in ordered]
    return {
        "report": REPORT,
        "format": FORMAT,
        "n_cases": len(ordered),
        "n_by_state": {str(state): states.count(state) for state in State if state in states},
        "not_read": [one_line(name) for name in not_read],
        "cases": ordered,
    }


def region_names(cases: Iterable[CohortCase]) -> tuple[str, ...]:
    """WT, TC and ET, then any other regions that occur in the cases."""
    found = {name for each in cases for name in each.volumes_ml}
    return (*_ALWAYS, *(region.name for region in Region if region.name in found - set(_ALWAYS)))


def cohort_table(cases: Iterable[CohortCase]) -> Table:
    """The list as a table with one row per case, sorted by name; voxels are counted in the mask."""
    ordered = sorted(cases, key=lambda each: each.case)
    regions = region_names(ordered)
    found = {name for each in ordered for name in each.label_voxels}
    labels = tuple(label.name for label in Label if label.name in found)
    columns = (
        *("case", "state", "agreement", *(f"{region}_ml" for region in regions)),
        *(f"{label}_voxels" for label in labels),
        *("lesions", "side", "axial_mm", "perpendicular_mm", "product_mm2", "largest_mm", "findings", "error", "notes"),
        *("missing", "label_set", "seconds", "mask", "report", "picture"),
    )
    rows = tuple(_row(each, regions, labels) for each in ordered)
    return Table("cohort", tuple(Heading(name) for name in columns), rows)


def _row(each: CohortCase, regions: tuple[str, ...], labels: tuple[str, ...]) -> tuple[Cell, ...]:
    is_measured = each.n_lesions is not None  # then a label that does not occur has 0 voxels
    return (
        each.case,
        each.state,
        each.agreement,
        *(each.volumes_ml.get(region) for region in regions),
        *(each.label_voxels.get(label, 0 if is_measured else None) for label in labels),
        *(each.n_lesions, each.side, each.axial_mm, each.perpendicular_mm, each.product_mm2, each.largest_mm),
        "; ".join(dict.fromkeys(finding["kind"] for finding in each.findings)),
        each.error,
        "; ".join((*(finding["text"] for finding in each.findings), *each.notes)),
        " ".join(each.missing),
        each.label_set,
        each.seconds,
        *(each.mask, each.report, each.picture),
    )


def _least_agreeing(members: Iterable[Mapping[str, Any]], agreement: float | None) -> tuple[str, ...]:
    """Name of the first member and region with that Dice; empty if there is none."""
    pairs = (
        (member["name"], region) for member in members for region, dice in member["dice"].items() if dice == agreement
    )
    return tuple(map(_text, next(pairs, ())))


def _state(value: object) -> State:
    """The state in a case's report: done (also for a case kept later) or failed; ValueError for any other."""
    state = State(_text(value))
    if state not in (State.DONE, State.FAILED):
        raise ValueError(f"{state} is not a state of a report")
    return state


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return value


def _optional(value: object) -> float | None:
    return None if value is None else _number(value)
