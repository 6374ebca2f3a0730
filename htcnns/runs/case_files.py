"""The files of a segmented case except its report: mask, probability maps and picture."""

import time

from htcnns.errors import is_of_the_disk
from htcnns.files.outputs import CaseOutputs, remove_report, write_maps, write_mask, write_picture
from htcnns.labels import SEQUENCES, Region, Sequence
from htcnns.reports.outcome import Outcome, State, failure_of
from htcnns.reports.picture import Legend, picture, png_bytes
from htcnns.runs.pipeline import ReadyCase, Segmentation


def write_case(outputs: CaseOutputs, prepared: ReadyCase, answer: Segmentation, *, began: float) -> Outcome:
    """Write mask, probability maps and picture of a segmented case, and return its outcome.

    Args:
        began: value of `time.perf_counter` at the start of the case.
    """
    found = time.perf_counter()
    remove_report(outputs)
    if answer.probabilities is not None:
        write_maps(outputs, answer.probabilities, affine=prepared.affine)
    write_mask(outputs, answer.label_map, affine=prepared.affine)
    notes = answer.notes + _draw(outputs, prepared, answer)
    return Outcome(
        case=outputs.case.name,
        state=State.DONE,
        mask=outputs.mask,
        label_set=outputs.numbers.name,
        labels={label.name: number for label, number in outputs.numbers.given_by(answer.regions).items()},
        volumes_ml=answer.volumes_ml,
        label_volumes_ml={label.name: volume for label, volume in answer.label_volumes_ml.items()},
        members=answer.members,
        missing=outputs.case.missing,
        notes=notes,
        seconds=time.perf_counter() - began,
        forward_s=answer.forward_s,
        n_windows=answer.n_windows,
        steps_s=answer.seconds | {"write": time.perf_counter() - found},
    )


def _draw(outputs: CaseOutputs, prepared: ReadyCase, answer: Segmentation) -> tuple[str, ...]:
    """Write the picture if one is asked for; return a note if that fails, as the mask is valid without it."""
    if not outputs.picture:
        return ()
    array = prepared.prepared.array
    shown = {sequence: array[SEQUENCES.index(sequence)] for sequence in (Sequence.T1C, Sequence.T2F)}
    name = outputs.case.name
    try:
        pixels = picture(shown, answer.grid_label_map, (1.0, 1.0, 1.0), legend=_legend(answer), title=name)
        write_picture(outputs, png_bytes(pixels))
    except Exception as error:  # whatever goes wrong with the picture, the mask stays
        if is_of_the_disk(error):
            raise
        return (f"no picture: {failure_of(name, error).sentence}",)
    return ()


def _legend(answer: Segmentation) -> Legend:
    """The picture's legend, with the volumes of the report."""
    volumes_ml = answer.label_volumes_ml
    return Legend(volumes_ml, sum(volumes_ml[label] for label in Region.WT.value if label in volumes_ml))
