"""Whether an earlier run finished a case: the mask's grid, voxels and numbers, and what lies beside it."""

import os
from pathlib import Path

import numpy as np

from htcnns.errors import InputError
from htcnns.files.nifti import read_grid, read_label_map
from htcnns.files.outputs import CaseOutputs
from htcnns.files.own import is_report_of_finished
from htcnns.labels import LABEL_SETS, Label, LabelSet, RegionSet
from htcnns.volume import Grid, grid_difference


def kept_notes(outputs: CaseOutputs, *, is_asked: bool) -> tuple[str, ...] | None:
    """Notes on a case that an earlier run finished; None where the case must be done.

    Finished means a readable label map on the grid of the case's reference with at least one voxel, and beside it every
    map on that grid, every picture and every report of a finished case that is asked for. A mask without any voxel
    never counts: it may stand in for a case that failed, and a case that is truly empty is simply done again.

    Args:
        is_asked: whether a person named the label set, so that a mask with other numbers must be done again. A mask
            whose label set goes by the case's name is kept, as it may have been written in another set before, or
            changed by hand.
    """
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
    if reference is None or not all(map(_has_content, outputs.paths)) or not _is_reported(outputs):
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


def _is_reported(outputs: CaseOutputs) -> bool:
    """Whether the case's report, where one is asked for, is that of a finished case and not of a failed attempt."""
    return outputs.report is None or is_report_of_finished(outputs.report.record)


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
