"""The report of one case: what was found, by which weights and machine, and what a person should look at, as JSON.

`case_report.schema.json` beside this file says what each field means; whoever changes a field raises FORMAT.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from htcnns.image.lesion_shape import AxialDiameters, Diameter, Point, Side
from htcnns.image.notes import Kind, kind_of
from htcnns.labels import Region
from htcnns.reports.outcome import Outcome
from htcnns.reports.plain_text import one_line
from htcnns.reports.strict_json import json_text, without_markup
from htcnns.volume import Shape, Spacing

REPORT = "htcnns case"  # marks a file as such a report
FORMAT = 2
MOST_LISTED = 100  # lesions whose volumes are listed; a noisy mask may have thousands


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What is the same for every case of a run.

    Attributes:
        environment: versions and machine.
        device, device_note, precision: where and how the members compute.
        settings: all settings of the run.
        members: description of each member: name, files with their sha256, sequences, regions, rules and more.
    """

    environment: Mapping[str, object]
    device: str
    device_note: str
    precision: str
    settings: Mapping[str, object]
    members: tuple[Mapping[str, object], ...]


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The grid of the mask.

    Attributes:
        shape, spacing_mm: size in voxels and voxel size, along its voxel axes.
        orientation: direction of each voxel axis, such as "LPS".
        affine: (4, 4) voxel index to world mm, RAS+.
        is_resampled: whether the networks saw another grid.
    """

    shape: Shape
    spacing_mm: Spacing
    orientation: str
    affine: tuple[tuple[float, ...], ...]
    is_resampled: bool


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What was measured on the mask.

    Attributes:
        label_voxels: number of voxels of each label that occurs.
        lesions_ml: volume of every lesion of each region, largest first.
        centroid_mm: centroid of the largest lesion of the whole tumour; None without any.
        side: side on which that lesion lies; None without any.
        middle_x_mm: world x of the brain's middle.
        borders: sides of the image that the tumour touches.
        axial: diameters of the enhancing tumour in one axial slice; None without any.
        largest: longest diameter of the enhancing tumour in any direction; None without any.
    """

    label_voxels: Mapping[str, int]
    lesions_ml: Mapping[Region, tuple[float, ...]]
    centroid_mm: Point | None
    side: Side | None
    middle_x_mm: float
    borders: tuple[str, ...]
    axial: AxialDiameters | None
    largest: Diameter | None


@dataclass(frozen=True, kw_only=True)
class Digests:
    """The sha256 of a mask and of what it was made from; if they match again, the case is finished.

    Attributes:
        method: digest of weights and settings.
        inputs: sha256 and stamp of each scan's file, by sequence.
        mask: digest of the mask's file.
        beside: digests of the maps and the overlay picture written with it, by region name, picture or disagreement.
    """

    method: str
    inputs: Mapping[str, Mapping[str, str]]
    mask: str
    beside: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class CaseFacts:
    """What is known about one case in addition to its outcome.

    Attributes:
        geometry, measures: None for a case that failed.
        digests: digests of the mask; for a failed case those of an earlier mask, which may still exist; None for none.
        peak_memory_mib: peak memory of the process and of the device so far.
        picture, disagreement: names of the files beside the report; None for none.
    """

    geometry: Geometry | None = None
    measures: Measures | None = None
    digests: Digests | Mapping[str, Any] | None = None
    peak_memory_mib: Mapping[str, float | None]
    picture: str | None = None
    disagreement: str | None = None


def case_record(run: RunFacts, outcome: Outcome, facts: CaseFacts) -> dict[str, Any]:
    """The report as plain data for JSON; title, error and notes are on one line each."""
    measures = facts.measures
    kinds = [(kind_of(note), one_line(note)) for note in outcome.notes]
    return {
        "report": REPORT,
        "format": FORMAT,
        "case": outcome.case,
        "title": one_line(outcome.case),
        "state": str(outcome.state),
        "error": one_line(outcome.error),
        "trace": [one_line(line) for line in outcome.trace.splitlines()],
        "findings": [{"kind": str(kind), "text": text} for kind, text in kinds if kind is not Kind.REMARK],
        "notes": [text for kind, text in kinds if kind is Kind.REMARK],
        "files": {
            "mask": str(outcome.mask) if outcome.mask else None,
            "picture": facts.picture,
            "disagreement": facts.disagreement,
        },
        "digests": facts.digests,
        "missing": [str(sequence) for sequence in outcome.missing],
        "geometry": facts.geometry,
        "label_set": outcome.label_set,
        "labels": outcome.labels,
        "volumes_ml": outcome.volumes_ml,
        "label_volumes_ml": outcome.label_volumes_ml,
        "label_voxels": measures.label_voxels if measures else {},
        "lesions": {region.name: _lesions(volumes) for region, volumes in measures.lesions_ml.items()}
        if measures
        else {},
        "largest_lesion": _largest_lesion(measures) if measures else None,
        "borders": list(measures.borders) if measures else [],
        "diameters": _diameters(measures.axial, measures.largest) if measures else None,
        "members": outcome.members,
        "least_dice": min((dice for member in outcome.members for dice in member.dice.values()), default=None),
        "seconds": {"total": _rounded(outcome.seconds), "steps": {k: _rounded(s) for k, s in outcome.steps_s.items()}},
        "n_windows": outcome.n_windows,
        "peak_memory_mib": {place: _rounded(mib, 1) for place, mib in facts.peak_memory_mib.items()},
        "run": run,
    }


def record_text(record: Mapping[str, Any]) -> str:
    """The record as JSON without characters that are special in HTML, so that a page can embed it as it is."""
    return without_markup(json_text(record))


def _lesions(volumes_ml: tuple[float, ...]) -> dict[str, Any]:
    return {"n": len(volumes_ml), "volumes_ml": [_rounded(volume) for volume in volumes_ml[:MOST_LISTED]]}


def _largest_lesion(measures: Measures) -> dict[str, Any] | None:
    if measures.centroid_mm is None or measures.side is None:
        return None
    return {
        "volume_ml": _rounded(measures.lesions_ml[Region.WT][0]),
        "side": str(measures.side),
        "centroid_mm": _point(measures.centroid_mm),
        "middle_x_mm": _rounded(measures.middle_x_mm, 2),
    }


def _diameters(axial: AxialDiameters | None, largest: Diameter | None) -> dict[str, Any] | None:
    if axial is None or largest is None:
        return None
    return {
        "axial_mm": _rounded(axial.longest.length_mm, 2),
        "perpendicular_mm": _rounded(axial.perpendicular.length_mm, 2),
        "product_mm2": _rounded(axial.product_mm2, 1),
        "largest_mm": _rounded(largest.length_mm, 2),
        "axial_ends_mm": _ends(axial.longest),
        "perpendicular_ends_mm": _ends(axial.perpendicular),
        "largest_ends_mm": _ends(largest),
    }


def _ends(diameter: Diameter) -> list[list[float | None]]:
    return [_point(diameter.start_mm), _point(diameter.stop_mm)]


def _point(point: Point) -> list[float | None]:
    return [_rounded(value, 2) for value in point]


def _rounded(value: float | None, digits: int = 3) -> float | None:
    """The rounded number; None for None, NaN and infinity, as JSON has no other value for those."""
    return None if value is None or not math.isfinite(value) else round(float(value), digits)
