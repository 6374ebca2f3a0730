"""Whether an earlier run finished a case: by the digests in its report, or by the mask's grid, voxels and numbers."""

import os
from pathlib import Path

import numpy as np

from htcnns.errors import InputError
from htcnns.files.case_records import Origin, known_mask, origin_of, read_record
from htcnns.files.digests import has_same_bytes
from htcnns.files.nifti import read_grid, read_label_map
from htcnns.files.outputs import CaseOutputs, holds_tumour
from htcnns.files.own import is_own
from htcnns.labels import LABEL_SETS, Label, LabelSet, RegionSet
from htcnns.volume import Grid, grid_difference

_CHANGED = "its mask is not the one that its report was made from; segment the case again for a matching report"


def kept_notes(outputs: CaseOutputs, *, is_asked: bool, method: str) -> tuple[str, ...] | None:
    """Notes on a case that an earlier run finished; None where the case must be done.

    Where a report of the case is asked for, finished means that there is a report of a mask made from the same scans
    (byte for byte), weights and settings, and that every other file asked for is there as it was written with the mask.
    A mask that was changed since then is kept, with a note, if it would also be kept without a report.

    Without a report, finished means a readable, non-empty label map on the grid of the case's reference, and every map
    (on that grid) and picture that is asked for. An empty mask never counts: it may stand in for a case that failed,
    and a case that is truly empty is simply done again.

    Args:
        is_asked: whether a person named the label set, so that a mask in another set must be made again. If the set
            only follows from the case's name, such a mask is kept, with a note, as it may have been written in another
            set before, or changed by hand.
        method: digest of the weights and settings, as in the report.
    """
    if outputs.report is None:
        return _notes_on_mask(outputs, is_asked=is_asked)
    origin = _origin(outputs)
    if origin is None or not _is_same(origin, outputs, method):
        return None
    if has_same_bytes(outputs.mask, origin.mask):
        return ()
    notes = _notes_on_mask(outputs, is_asked=is_asked)
    return None if notes is None else (*notes, _CHANGED)


def require_no_work_of_others(outputs: CaseOutputs) -> None:
    """Raise InputError where a non-empty mask on the case's grid is not as a run wrote it and would be replaced.

    It may be hours of somebody's work. A report with the mask's digest reveals every change; without one, only changes
    by programs that do not copy the header are noticed.
    """
    if not _is_a_mask_of(outputs):
        return
    record = read_record(outputs.report.record) if outputs.report else None
    known = known_mask(record) if record else None
    is_changed = known is not None and not has_same_bytes(outputs.mask, known)
    if is_changed or not is_own(outputs.mask):
        raise InputError(
            "is not as a run wrote it, and would be replaced",
            place=outputs.mask,
            found="contents that do not match its report" if is_changed else "a mask without the mark of a run",
            expected="a mask that nobody changed, or none",
            remedy="Move it away to have the case segmented; leave it where it is your correction.",
        )


def _is_a_mask_of(outputs: CaseOutputs) -> bool:
    """Whether a non-empty label map on the grid of the case is at the mask's path."""
    try:
        reference = outputs.case.reference
        return holds_tumour(outputs.mask) and reference is not None and _lies_on(outputs.mask, read_grid(reference))
    except InputError:
        return False


def _notes_on_mask(outputs: CaseOutputs, *, is_asked: bool) -> tuple[str, ...] | None:
    """The notes of `kept_notes` without a report."""
    wanted = outputs.numbers
    numbers = _numbers_in_mask(outputs)
    fits = _fits(numbers, wanted)
    if not numbers or not (fits or (not is_asked and any(_fits(numbers, known) for known in LABEL_SETS.values()))):
        return None
    if not fits:
        return (f"its numbers {sorted(numbers)} are not those of {wanted.name}; name another label set",)
    if is_asked and _is_ambiguous(numbers, outputs):
        return (f"the file does not show whether its numbers {sorted(numbers)} are meant as in {wanted.name}",)
    return ()


def _numbers_in_mask(outputs: CaseOutputs) -> frozenset[int]:
    """The file numbers in a mask, without 0; empty where the mask or a file that belongs beside it cannot be kept."""
    reference = outputs.case.reference
    if reference is None or not all(map(_has_content, outputs.paths)):
        return frozenset()
    try:
        grid = read_grid(reference)  # the headers first, as they cost least
        if not all(_lies_on(path, grid) for path in (outputs.mask, *outputs.all_maps)):
            return frozenset()
        array = read_label_map(outputs.mask).array
    except InputError:  # not a usable mask, so a new one is made
        return frozenset()
    return frozenset(np.unique(array[array != 0]).tolist())


def _has_content(path: Path) -> bool:
    """Whether there is a file with at least one byte; a full disk may leave an empty one."""
    return os.path.isfile(path) and os.path.getsize(path) > 0


def _origin(outputs: CaseOutputs) -> Origin | None:
    """What the case's report states that its mask was made from; None where it does not, or a file is missing."""
    if outputs.report is None or not all(map(_has_content, outputs.paths)):
        return None
    record = read_record(outputs.report.record)
    return origin_of(record) if record else None


def _is_same(origin: Origin, outputs: CaseOutputs, method: str) -> bool:
    """Whether this run would make the same mask, and every file asked for beside it is unchanged.

    The scans are compared last, as they cost most.
    """
    files = outputs.case.files
    return (
        (origin.method, origin.label_set) == (method, outputs.numbers.name)
        and origin.inputs.keys() == files.keys()
        and outputs.beside.keys() <= origin.beside.keys()
        and all(has_same_bytes(path, origin.beside[name]) for name, path in outputs.beside.items())
        and all(has_same_bytes(files[sequence], known) for sequence, known in origin.inputs.items())
    )


def _lies_on(path: Path, grid: Grid) -> bool:
    return not grid_difference(read_grid(path), grid)


def _fits(numbers: frozenset[int], label_set: LabelSet) -> bool:
    return numbers <= set(label_set.numbers.values())


def _is_ambiguous(numbers: frozenset[int], outputs: CaseOutputs) -> bool:
    """Whether members could also have written these numbers in another label set, where they mean other tissue."""
    ours = _meanings(outputs.numbers, outputs.regions)
    others = [_meanings(other, outputs.regions) for other in LABEL_SETS.values()]
    return any(numbers <= other.keys() and any(other[n] != ours.get(n) for n in numbers) for other in others)


def _meanings(label_set: LabelSet, regions: RegionSet) -> dict[int, Label]:
    """The label of each number that members with these regions can write."""
    return {number: label for label, number in label_set.given_by(regions).items()}
