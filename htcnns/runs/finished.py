"""Whether an earlier run finished a case, by what lies on the disk."""

import os
from pathlib import Path

import numpy as np

from htcnns.errors import InputError
from htcnns.files.nifti import read_grid, read_label_map
from htcnns.files.scans import GRID_TOLERANCE_MM
from htcnns.labels import LABEL_SETS, Label, LabelSet, Sequence
from htcnns.runs.targets import Targets
from htcnns.volume import grid_difference_mm


def finished_notes(targets: Targets, wanted: LabelSet, *, is_asked: bool) -> tuple[str, ...] | None:
    """What a person should know of a case that an earlier run finished; None where the case must be done.

    Finished means a readable label map on the grid of the t1c with at least one voxel, and beside it every
    probability map and picture that is asked for. A mask without any voxel never counts: it may stand in for a case
    that failed, and a case that is truly empty is simply done again.

    Args:
        wanted: the label set that the case would be written in now.
        is_asked: a person named it, so that a mask with other numbers must be done again. One whose set goes by the
            case's name is kept, as it may have been written in another set before, or changed by hand.
    """
    numbers = _numbers_in_mask(targets)
    fits = _fits(numbers, wanted)
    if not numbers or not (fits or (not is_asked and any(_fits(numbers, known) for known in LABEL_SETS.values()))):
        return None
    if not fits:
        return (f"its numbers {sorted(numbers)} are not those of {wanted.name}; --labels names another set",)
    if is_asked and _is_ambiguous(numbers, wanted):
        return (f"that its numbers {sorted(numbers)} are meant as in {wanted.name} cannot be seen in the file",)
    return ()


def holds_tumour(path: Path) -> bool:
    """Whether a readable label map with at least one voxel lies there."""
    try:
        return os.path.isfile(path) and bool(read_label_map(path).array.any())
    except InputError:
        return False


def _numbers_in_mask(targets: Targets) -> frozenset[int]:
    """The file numbers in a mask that can be kept, without 0; empty where it, or what belongs beside it, cannot."""
    t1c = targets.case.files.get(Sequence.T1C)
    if t1c is None or not all(map(os.path.isfile, targets.paths)):
        return frozenset()
    try:
        grid, wanted = read_grid(targets.mask), read_grid(t1c)  # the headers first, as they cost least
        if grid.shape != wanted.shape or grid_difference_mm(grid.affine, wanted.affine, grid.shape) > GRID_TOLERANCE_MM:
            return frozenset()
        array = read_label_map(targets.mask).array
    except InputError:  # whatever lies there is no mask, so it is made
        return frozenset()
    return frozenset(np.unique(array[array != 0]).tolist())


def _fits(numbers: frozenset[int], label_set: LabelSet) -> bool:
    return numbers <= set(label_set.numbers.values())


def _is_ambiguous(numbers: frozenset[int], label_set: LabelSet) -> bool:
    """Whether members may have written these numbers in another set as well, where they mean other tissue."""
    ours = _given(label_set)
    others = [_given(other) for other in LABEL_SETS.values()]
    return any(numbers <= other.keys() and any(other[n] != ours.get(n) for n in numbers) for other in others)


def _given(label_set: LabelSet) -> dict[int, Label]:
    """What the numbers mean that members can give."""
    return {number: label for label, number in label_set.numbers.items() if label not in label_set.not_given}
