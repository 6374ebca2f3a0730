"""The report of a case, made from what its segmentation left in memory: no scan is read again."""

from collections.abc import Iterable
from dataclasses import asdict

import numpy as np

from htcnns.files.case_records import read_record
from htcnns.files.digests import sha256_of, sha256_of_any
from htcnns.files.member import Member
from htcnns.files.outputs import CaseOutputs, remove_report, write_disagreement, write_record, write_report_picture
from htcnns.image.lesion_shape import (
    axial_diameters,
    centroid_mm,
    largest_diameter,
    largest_lesion,
    lesion_volumes_ml,
    side_of,
    touched_borders,
)
from htcnns.labels import SEQUENCES, Label, Region, Sequence, region_mask
from htcnns.reports.case_picture import OUTLINES, Caption, case_picture
from htcnns.reports.case_report import CaseFacts, Digests, Geometry, Measures, RunFacts, case_record, record_text
from htcnns.reports.outcome import Outcome
from htcnns.reports.picture import png_bytes
from htcnns.runs.devices import environment, peak_memory_mib, precision_name
from htcnns.runs.ensemble import Ensemble, mirrored
from htcnns.runs.pipeline import ReadyCase, Segmentation
from htcnns.runs.resources import Resources
from htcnns.runs.settings import RunSettings
from htcnns.volume import axis_names, bounding_box, spacing_mm

_ALWAYS = (Region.WT, Region.TC, Region.ET)
_SHOWN = (Sequence.T1C, Sequence.T2F)
_ENHANCING_CORE = (Label.ET, Label.NCR)  # a diameter of the enhancing tumour may cross the necrosis in its ring


def run_facts(ensemble: Ensemble, settings: RunSettings) -> RunFacts:
    """The facts that are the same for every case of a run."""
    return RunFacts(
        environment=environment(),
        device=str(ensemble.device),
        device_note=ensemble.note,
        precision=precision_name(ensemble.precision),
        settings=asdict(settings),
        members=tuple(_described(member) | {"mirror": mirrored(member, settings)} for member in ensemble.members),
    )


def write_finished(
    outputs: CaseOutputs, ready: ReadyCase, answer: Segmentation, outcome: Outcome, *, resources: Resources
) -> None:
    """Write the report of a segmented case: disagreement map, picture and, last, the record."""
    if outputs.report is None:
        return
    regions = answer.regions.regions
    measures = measure(answer.label_map, ready.affine, regions=regions, middle_x_mm=middle_x_mm(ready))
    if answer.dissent is not None:
        write_disagreement(outputs, answer.dissent, affine=ready.affine)
    write_report_picture(outputs, _png(ready, answer, outcome, measures))
    map_path = outputs.report.disagreement
    facts = CaseFacts(
        geometry=_geometry(ready),
        measures=measures,
        digests=Digests(
            method=resources.method,
            inputs={str(sequence): asdict(digest) for sequence, digest in ready.digests.items()},
            mask=sha256_of(outputs.mask),
            beside={name: digest for name, path in outputs.beside.items() if (digest := sha256_of_any(path))},
        ),
        peak_memory_mib=peak_memory_mib(resources.ensemble.device),
        picture=outputs.report.picture.name,
        disagreement=map_path.name if map_path else None,
    )
    write_record(outputs, record_text(case_record(_facts_of(resources), outcome, facts)))


def write_failed(outputs: CaseOutputs, outcome: Outcome, *, resources: Resources) -> None:
    """Write the report of a failed case: its state and error, and the digests of an earlier mask and its scans.

    From these a later run can still see whether somebody has changed that mask.
    """
    if outputs.report is None:
        return
    earlier = read_record(outputs.report.record) or {}
    remove_report(outputs)
    facts = CaseFacts(digests=earlier.get("digests"), peak_memory_mib=peak_memory_mib(resources.ensemble.device))
    write_record(outputs, record_text(case_record(_facts_of(resources), outcome, facts)))


def measure(label_map: np.ndarray, affine: np.ndarray, *, regions: Iterable[Region], middle_x_mm: float) -> Measures:
    """The report's measures of an (I, J, K) uint8 label map; most need only the tumour's bounding box.

    Args:
        affine: (4, 4) voxel index to world mm.
        regions: regions whose lesions are measured, in addition to WT, TC and ET.
        middle_x_mm: world x of the brain's middle.
    """
    box = bounding_box(label_map != 0) or (slice(0, 1),) * 3
    labels = label_map[box]
    grid = affine.copy()
    grid[:3, 3] += affine[:3, :3] @ [part.start for part in box]
    masks = {region: region_mask(labels, region) for region in dict.fromkeys((*_ALWAYS, *regions))}
    whole = largest_lesion(masks[Region.WT])
    centre = centroid_mm(whole, grid) if masks[Region.WT].any() else None
    core = np.isin(labels, _ENHANCING_CORE)
    axial = axial_diameters(masks[Region.ET], grid, within=core)
    counts = np.bincount(labels.reshape(-1, order="A"), minlength=len(Label))
    return Measures(
        label_voxels={label.name: int(counts[label]) for label in Label if label and counts[label]},
        lesions_ml={region: tuple(lesion_volumes_ml(mask, grid).tolist()) for region, mask in masks.items()},
        centroid_mm=centre,
        side=side_of(centre[0], middle_x_mm) if centre else None,
        middle_x_mm=middle_x_mm,
        borders=touched_borders(label_map, affine),
        axial=axial,
        largest=largest_diameter(masks[Region.ET], grid, within=core, known=axial.longest) if axial else None,
    )


def middle_x_mm(ready: ReadyCase) -> float:
    """World x of the brain's middle: the mean position of its voxels."""
    middle = centroid_mm(ready.prepared.brain, np.eye(4))  # as an index
    return float((ready.affine @ [*ready.prepared.undo.place(np.array(middle)), 1])[0])


def _facts_of(resources: Resources) -> RunFacts:
    return run_facts(resources.ensemble, resources.settings)


def _png(ready: ReadyCase, answer: Segmentation, outcome: Outcome, measures: Measures) -> bytes:
    prepared, axial = ready.prepared, measures.axial
    shown = {sequence: prepared.array[SEQUENCES.index(sequence)] for sequence in _SHOWN}
    caption = Caption(
        title=outcome.case,
        volumes_ml=_outlined_ml(answer.label_volumes_ml),
        diameters_mm=(axial.longest.length_mm, axial.perpendicular.length_mm) if axial else None,
    )
    return png_bytes(case_picture(shown, answer.grid_label_map, prepared.brain, caption=caption))


def _outlined_ml(label_volumes_ml: dict[Label, float]) -> dict[Region, float]:
    """The volume of each region that the picture outlines, whichever regions the members predict."""
    return {
        region: sum(label_volumes_ml.get(label, 0.0) for label in region.value)
        for region in OUTLINES
        if label_volumes_ml.keys() & set(region.value)
    }


def _geometry(ready: ReadyCase) -> Geometry:
    undo = ready.prepared.undo
    return Geometry(
        shape=undo.shape,
        spacing_mm=spacing_mm(ready.affine),
        orientation=axis_names(ready.affine),
        affine=tuple(tuple(row) for row in ready.affine.tolist()),
        is_resampled=undo.resampled,
    )


def _described(member: Member) -> dict:
    return {
        "name": member.name,
        "title": member.title,
        "files": {file.path.name: file.sha256 for file in member.files},
        "sequences": list(member.sequences),
        "regions": member.regions.name,
        "rules": member.rules,
        "trained_on": member.trained_on,
        "scores": member.scores,
    }
