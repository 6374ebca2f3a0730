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

_CHANGED = "its mask is not the one that its report was made from; segment the case again for a report that fits"


def kept_notes(outputs: CaseOutputs, *, is_asked: bool, method: str) -> tuple[str, ...] | None:
    """Notes on a case that an earlier run finished; None where the case must be done.

    Where a report of the case is asked for, finished means that one lies there of the same scans, to the byte, by the
    same weights and settings, and beside it every file that is asked for, as it was written with the mask. A mask that
    was changed since then is kept, with a note, as long as it would be kept without a report.

    Without a report, finished means a readable label map on the grid of the case's reference with at least one voxel,
    and beside it every map on that grid and every picture that is asked for. A mask without any voxel never counts: it
    may stand in for a case that failed, and a case that is truly empty is simply done again.

    Args:
        is_asked: whether a person named the label set, so that a mask with other numbers must be done again. A mask
            whose label set goes by the case's name is kept, as it may have been written in another set before, or
            changed by hand.
        method: digest of what decides a mask beside the scans, as the report has it.
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
    """Raise InputError where a mask on the case's grid, with a voxel, is not as a run wrote it and would be replaced.

    It may be hours of somebody's work. By a report that says what was written every change is seen, without one only
    that of programs which do not copy the header.
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
            found="other bytes than its report says" if is_changed else "a mask without the mark of a run",
            expected="a mask that nobody changed, or none",
            remedy="Move it away to have the case segmented; leave it where it is your correction.",
        )


def _is_a_mask_of(outputs: CaseOutputs) -> bool:
    """Whether a label map with a voxel on the grid of the case lies in the mask's place."""
    try:
        reference = outputs.case.reference
        return holds_tumour(outputs.mask) and reference is not None and _lies_on(outputs.mask, read_grid(reference))
    except InputError:
        return False


def _notes_on_mask(outputs: CaseOutputs, *, is_asked: bool) -> tuple[str, ...] | None:
    """As `kept_notes`, by the mask alone."""
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
    """The file numbers in a mask that can be kept, without 0; empty where it, or what belongs beside it, cannot."""
    reference = outputs.case.reference
    if reference is None or not all(map(_has_content, outputs.paths)):
        return frozenset()
    try:
        grid = read_grid(reference)  # the headers first, as they cost least
        if not all(_lies_on(path, grid) for path in (outputs.mask, *outputs.all_maps)):
            return frozenset()
        array = read_label_map(outputs.mask).array
    except InputError:  # whatever lies there is no mask, so it is made
        return frozenset()
    return frozenset(np.unique(array[array != 0]).tolist())


def _has_content(path: Path) -> bool:
    """Whether a file with at least one byte lies there; a full disk may leave one without."""
    return os.path.isfile(path) and os.path.getsize(path) > 0


def _origin(outputs: CaseOutputs) -> Origin | None:
    """What the case's report says that its mask was made from; None where no such report lies beside all its files."""
    if outputs.report is None or not all(map(_has_content, outputs.paths)):
        return None
    record = read_record(outputs.report.record)
    return origin_of(record) if record else None


def _is_same(origin: Origin, outputs: CaseOutputs, method: str) -> bool:
    """Whether the run would make the mask from the same, and what is asked for beside it is what was made with it.

    The scans come last, as they cost most.
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
    """Whether the members may have written these numbers in another set as well, where they mean other tissue."""
    ours = _meanings(outputs.numbers, outputs.regions)
    others = [_meanings(other, outputs.regions) for other in LABEL_SETS.values()]
    return any(numbers <= other.keys() and any(other[n] != ours.get(n) for n in numbers) for other in others)


def _meanings(label_set: LabelSet, regions: RegionSet) -> dict[int, Label]:
    """The label of each number that members can give."""
    return {number: label for label, number in label_set.given_by(regions).items()}
