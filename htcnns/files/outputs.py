"""The files that a case's run writes: where each goes, and writing them."""

import errno
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from htcnns.errors import InputError, TakenError
from htcnns.files.atomic import require_replaceable, write_whole
from htcnns.files.case import Case
from htcnns.files.names.brats import Convention
from htcnns.files.nifti import read_label_map, write_empty_mask, write_label_map, write_map
from htcnns.files.own import is_own
from htcnns.labels import SEQUENCES, LabelSet, Region, RegionSet, Sequence


@dataclass(frozen=True, kw_only=True)
class ReportFiles:
    """Where the report of one case goes.

    Attributes:
        record: JSON file, written last, so that the others are there where it is.
        picture: PNG file.
        disagreement: map of where members disagree; None unless asked for.
    """

    record: Path
    picture: Path
    disagreement: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them, the record first."""
        return (self.record, self.picture, *([self.disagreement] if self.disagreement else []))


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
        report: files of the case's report; None unless asked for.
        in_input: those of them whose folders belong to the input, so that a file there may be the user's own.
    """

    case: Case
    numbers: LabelSet
    regions: RegionSet
    mask: Path
    maps: dict[Region, Path]
    picture: Path | None
    report: ReportFiles | None = None
    in_input: frozenset[Path] = frozenset()

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them, the mask first."""
        return (*self.needed, *(self.report.paths if self.report else ()))

    @property
    def needed(self) -> tuple[Path, ...]:
        """Those without which a case is not done: all but its report, the mask first."""
        return (self.mask, *self.maps.values(), *([self.picture] if self.picture else []))

    @property
    def all_maps(self) -> tuple[Path, ...]:
        """Every map beside the mask, all on its grid."""
        disagreement = self.report.disagreement if self.report else None
        return (*self.maps.values(), *([disagreement] if disagreement else []))

    @property
    def beside(self) -> dict[str, Path]:
        """Every map and the overlay picture by what they are called in the case's report."""
        disagreement = self.report.disagreement if self.report else None
        others = {"picture": self.picture, "disagreement": disagreement}
        maps = {region.name: path for region, path in self.maps.items()}
        return maps | {name: path for name, path in others.items() if path}


def mask_name(case: Case, *, short: bool) -> str:
    """The file name of a case's mask.

    Args:
        short: whether a BraTS2021_00495 that lies flat gives 00495.nii.gz.
    """
    is_short = short and case.flat and case.naming is Convention.BRATS_2021
    return f"{case.name.rpartition('_')[2] if is_short else case.name}.nii.gz"


def disagreement_beside(record: Path) -> Path:
    """Where the map of where members disagree lies beside a case's report."""
    return record.with_name(f"{record.stem}-disagreement.nii.gz")


def require_free_places(outputs: CaseOutputs) -> None:
    """Raise where a file of the case cannot have its name, or would replace one of the user's.

    Its report is not looked at, as the mask is good without it.

    Raises:
        InputError: too long a name, or a file of the input that no run wrote.
        TakenError: a folder or a device stands there.
    """
    for path in outputs.needed:
        if _is_too_long(path):
            raise InputError(
                "too long a name",
                place=outputs.case.name,
                found=f"a file name of {len(os.fsencode(path.name))} bytes to be written",
                expected=f"one that fits in {path.parent}",
                remedy="Give the case a shorter name.",
            )
        require_replaceable(path)
        if _is_the_users(path, outputs):
            raise InputError(
                "is a file of the input that no run wrote, and would be replaced",
                place=path,
                expected="a new file",
                remedy="Move it away or give another folder.",
            )


def write_mask(outputs: CaseOutputs, label_map: np.ndarray, *, affine: np.ndarray) -> None:
    """Write the mask of (I, J, K) Label values on the grid of the case's reference.

    Args:
        affine: (4, 4) that the reference had when it was read.

    Raises:
        InputError: the reference has another grid by now.
        OutputError: the file cannot be written.
    """
    write_label_map(outputs.mask, label_map, outputs.numbers, like=_reference(outputs), affine=affine)


def write_maps(outputs: CaseOutputs, probabilities: np.ndarray, *, affine: np.ndarray) -> None:
    """Write the probability maps, (R, I, J, K) float32 in the order of the regions, in the way of `write_mask`."""
    like = _reference(outputs)
    for path, array in zip(outputs.maps.values(), probabilities, strict=True):
        write_map(path, array, like=like, affine=affine)


def write_picture(outputs: CaseOutputs, png: bytes) -> None:
    """Write the overlay picture where the outputs have a place for it."""
    if outputs.picture:
        write_whole(outputs.picture, png)


def remove_report(outputs: CaseOutputs) -> None:
    """Remove an earlier report of the case, so that none stands beside a newer mask or failure.

    Its map of where members disagree goes with it, asked for or not, unless somebody else wrote it.
    """
    if outputs.report is None:
        return
    unasked = disagreement_beside(outputs.report.record)
    for path in (*outputs.report.paths, *([unasked] if is_own(unasked) else [])):
        if os.path.isfile(path) or os.path.islink(path):
            with suppress(OSError):  # whoever writes the new one says why nobody may
                path.unlink()


def write_disagreement(outputs: CaseOutputs, share: np.ndarray, *, affine: np.ndarray) -> None:
    """Write the (I, J, K) float32 map of where members disagree where the outputs have a place for it."""
    if outputs.report and outputs.report.disagreement:
        write_map(outputs.report.disagreement, share, like=_reference(outputs), affine=affine)


def write_report_picture(outputs: CaseOutputs, png: bytes) -> None:
    """Write the picture of the case's report where the outputs have a place for it."""
    if outputs.report:
        write_whole(outputs.report.picture, png)


def write_record(outputs: CaseOutputs, text: str) -> None:
    """Write the case's report where the outputs have a place for it."""
    if outputs.report:
        write_whole(outputs.report.record, text.encode())


def stand_in(outputs: CaseOutputs, *, is_readable: bool = True) -> tuple[bool, str]:
    """Write an empty mask on the grid of the t1c, else of another sequence, else on BraTS's own.

    A mask of an earlier run is never given up for an empty one.

    Args:
        is_readable: whether the scans may be read at all.

    Returns:
        Whether a mask lies there now, and a note on it; empty where the name allows no file.
    """
    path, files = outputs.mask, outputs.case.files
    if _is_too_long(path):
        return False, ""
    if holds_tumour(path):
        return True, "the mask that lies there was left as it is"
    if _is_the_users(path, outputs):
        return False, "no empty mask was written in its place, as a file of the input has its name"
    like = [files[s] for s in (Sequence.T1C, *SEQUENCES) if s in files and is_readable]
    try:
        is_known = write_empty_mask(path, like=like)
    except TakenError as error:
        return False, f"no empty mask was written in its place: {error}"
    on = "" if is_known else ", on the standard BraTS grid, as no header could be used"
    return True, f"an empty mask was written in its place{on}"


def _reference(outputs: CaseOutputs) -> Path:
    """The scan on whose grid everything is written; a case that was read has one."""
    if outputs.case.reference is None:
        raise ValueError(f"{outputs.case.name}: no scan")
    return outputs.case.reference


def _is_too_long(path: Path) -> bool:
    """Whether the file system takes no file of that name."""
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def _is_the_users(path: Path, outputs: CaseOutputs) -> bool:
    """Whether a file of the input stands there that no run wrote."""
    return path in outputs.in_input and os.path.lexists(path) and not is_own(path)


def holds_tumour(path: Path) -> bool:
    """Whether a readable label map with at least one voxel lies there."""
    try:
        return os.path.isfile(path) and bool(read_label_map(path).array.any())
    except InputError:
        return False
