"""The files that a case's run writes: where each goes, whether an earlier run finished them, and writing them."""

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from htcnns.errors import InputError, SettingsError
from htcnns.files.atomic import write_whole
from htcnns.files.cases import Case
from htcnns.files.names.brats import Convention
from htcnns.files.nifti import read_grid, read_label_map, write_empty_mask, write_label_map, write_map
from htcnns.files.places import resolved
from htcnns.labels import LABEL_SETS, SEQUENCES, Label, LabelSet, Region, RegionSet, Sequence
from htcnns.volume import grid_difference


@dataclass(frozen=True, kw_only=True)
class CaseOutputs:
    """Where the files of one case go, and in which numbers.

    Attributes:
        case: whose files they are.
        numbers: label set that the mask is written in.
        regions: regions that the members return.
        mask: file of the mask.
        maps: file of the probability map of each region; empty unless asked for.
        picture: file of the overlay picture; None unless asked for.
    """

    case: Case
    numbers: LabelSet
    regions: RegionSet
    mask: Path
    maps: dict[Region, Path]
    picture: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them, the mask first."""
        return (self.mask, *self.maps.values(), *([self.picture] if self.picture else []))


def mask_name(case: Case, *, short: bool) -> str:
    """The file name of a case's mask.

    Args:
        short: whether a BraTS2021_00495 that lies flat gives 00495.nii.gz.
    """
    is_short = short and case.flat and case.naming is Convention.BRATS_2021
    return f"{case.name.rpartition('_')[2] if is_short else case.name}.nii.gz"


def require_possible_names(outputs: CaseOutputs) -> None:
    """Raise InputError where the case's name is too long for one of its files."""
    for path in filter(_is_too_long, outputs.paths):
        raise InputError(
            "too long a name",
            place=outputs.case.name,
            found=f"a file name of {len(os.fsencode(path.name))} bytes to be written",
            expected=f"one that fits in {path.parent}",
            remedy="Give the case a shorter name.",
        )


def require_different_masks(cases: Iterable[CaseOutputs]) -> None:
    """Raise SettingsError where two cases would write one mask."""
    owners: dict[Path, str] = {}
    for each in cases:
        if each.mask in owners:
            raise SettingsError(
                "two cases would write one mask",
                place=each.mask.name,
                found=f"{owners[each.mask]} and {each.case.name}",
                expected="one case per mask",
                remedy="Put them into different input folders.",
            )
        owners[each.mask] = each.case.name


def require_no_scan(cases: Iterable[CaseOutputs], *, report: Path | None = None) -> None:
    """Raise SettingsError where a file to be written is a scan or a truth of any of the cases, by whatever path."""
    cases = tuple(cases)
    owners = {
        key: each.case.name
        for each in cases
        for file in (*each.case.files.values(), each.case.truth)
        if file
        for key in _keys(file)
    }
    written = [(path, f"an output of {each.case.name}") for each in cases for path in each.paths]
    written += [(report, "the report")] if report else []
    for path, what in written:
        owner = next((owners[key] for key in _keys(path) if key in owners), None)
        if owner:
            raise SettingsError(
                f"is a scan or truth of {owner}, and {what} would overwrite it",
                place=path,
                setting="report" if path == report else "",
                expected="a new file",
                remedy="Give another folder or name.",
            )


def kept_notes(outputs: CaseOutputs, *, is_asked: bool) -> tuple[str, ...] | None:
    """Notes on a case that an earlier run finished; None where the case must be done.

    Finished means a readable label map on the grid of the t1c with at least one voxel, and beside it every
    probability map and picture that is asked for. A mask without any voxel never counts: it may stand in for a case
    that failed, and a case that is truly empty is simply done again.

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


def write_mask(outputs: CaseOutputs, label_map: np.ndarray) -> None:
    """Write the mask of (I, J, K) Label values on the grid of the t1c.

    Raises:
        OutputError: the file cannot be written.
    """
    write_label_map(outputs.mask, label_map, outputs.numbers, like=outputs.case.files[Sequence.T1C])


def write_maps(outputs: CaseOutputs, probabilities: np.ndarray) -> None:
    """Write the probability maps, (R, I, J, K) float32 in the order of the regions, on the grid of the t1c."""
    like = outputs.case.files[Sequence.T1C]
    for path, array in zip(outputs.maps.values(), probabilities, strict=True):
        write_map(path, array, like=like)


def write_picture(outputs: CaseOutputs, png: bytes) -> None:
    """Write the overlay picture where the outputs have a place for it."""
    if outputs.picture:
        write_whole(outputs.picture, png)


def stand_in(outputs: CaseOutputs) -> str:
    """Write an empty mask on the grid of the t1c, else of another sequence, else on BraTS's own; a note on it.

    A mask of an earlier run is never given up for an empty one. Empty where the name allows no file.
    """
    path, files = outputs.mask, outputs.case.files
    if _is_too_long(path):
        return ""
    if _holds_tumour(path):
        return "the mask of an earlier run was left as it is"
    order = (Sequence.T1C, *SEQUENCES)
    if any(write_empty_mask(path, like=files[sequence]) for sequence in order if sequence in files):
        return "an empty mask was written in its place"
    write_empty_mask(path, like=None)
    return "an empty mask was written in its place, on the standard BraTS grid, as no header could be read"


def _is_too_long(path: Path) -> bool:
    """Whether the file system takes no file of that name."""
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def _keys(path: Path) -> set[Path]:
    """What a file is known by: where links lead to, and where the name itself stands, as a link can be replaced."""
    return {resolved(path), resolved(path.parent) / path.name}


def _holds_tumour(path: Path) -> bool:
    """Whether a readable label map with at least one voxel lies there."""
    try:
        return os.path.isfile(path) and bool(read_label_map(path).array.any())
    except InputError:
        return False


def _numbers_in_mask(outputs: CaseOutputs) -> frozenset[int]:
    """The file numbers in a mask that can be kept, without 0; empty where it, or what belongs beside it, cannot."""
    t1c = outputs.case.files.get(Sequence.T1C)
    if t1c is None or not all(map(os.path.isfile, outputs.paths)):
        return frozenset()
    try:
        if grid_difference(read_grid(outputs.mask), read_grid(t1c)):  # the headers first, as they cost least
            return frozenset()
        array = read_label_map(outputs.mask).array
    except InputError:  # whatever lies there is no mask, so it is made
        return frozenset()
    return frozenset(np.unique(array[array != 0]).tolist())


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
