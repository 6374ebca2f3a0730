"""A case's output files: where each goes, and writing them."""

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
        record: JSON file, written last, so that where it exists the others do too.
        picture: PNG file.
        disagreement: map of where members disagree; None unless asked for.
    """

    record: Path
    picture: Path
    disagreement: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files of the report, the record first."""
        return (self.record, self.picture, *([self.disagreement] if self.disagreement else []))


@dataclass(frozen=True, kw_only=True)
class CaseOutputs:
    """Where the files of one case go, and the label set of its mask.

    Attributes:
        case: case that the files belong to.
        numbers: label set that the mask is written in.
        regions: regions that the members predict.
        mask: file of the mask.
        maps: file of the probability map of each region; empty unless asked for.
        picture: file of the overlay picture; None unless asked for.
        report: files of the case's report; None unless asked for.
        in_input: output files whose folder belongs to the input, so that an existing file there may be the user's own.
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
        """All output files, the mask first."""
        return (*self.needed, *(self.report.paths if self.report else ()))

    @property
    def needed(self) -> tuple[Path, ...]:
        """The files without which a case is not finished: all but its report, the mask first."""
        return (self.mask, *self.maps.values(), *([self.picture] if self.picture else []))

    @property
    def all_maps(self) -> tuple[Path, ...]:
        """Every map that is written in addition to the mask, all on its grid."""
        disagreement = self.report.disagreement if self.report else None
        return (*self.maps.values(), *([disagreement] if disagreement else []))

    @property
    def beside(self) -> dict[str, Path]:
        """Every map and the overlay picture, by their names in the case's report."""
        disagreement = self.report.disagreement if self.report else None
        others = {"picture": self.picture, "disagreement": disagreement}
        maps = {region.name: path for region, path in self.maps.items()}
        return maps | {name: path for name, path in others.items() if path}


def mask_name(case: Case, *, short: bool) -> str:
    """The file name of a case's mask.

    Args:
        short: whether BraTS2021_00495 is shortened to 00495.nii.gz if its files lie in a folder with other cases.
    """
    is_short = short and case.flat and case.naming is Convention.BRATS_2021
    return f"{case.name.rpartition('_')[2] if is_short else case.name}.nii.gz"


def disagreement_beside(record: Path) -> Path:
    """Path of the map of where members disagree, beside a case's report."""
    return record.with_name(f"{record.stem}-disagreement.nii.gz")


def require_free_places(outputs: CaseOutputs) -> None:
    """Raise where a file of the case cannot be written under its name, or would replace a file of the user's.

    The report is not checked, as the mask is valid without it.

    Raises:
        InputError: the name is too long, or is that of an input file that no run wrote.
        TakenError: a folder or a device has the name.
    """
    for path in outputs.needed:
        if _is_too_long(path):
            raise InputError(
                "too long a name",
                place=outputs.case.name,
                found=f"a file name of {len(os.fsencode(path.name))} bytes",
                expected=f"one short enough for {path.parent}",
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
    """Write the mask of (I, J, K) Label values on the grid of the case's reference scan.

    Args:
        affine: (4, 4) affine that the reference had when it was read.

    Raises:
        InputError: the grid of the reference has changed since it was read.
        OutputError: the file cannot be written.
    """
    write_label_map(outputs.mask, label_map, outputs.numbers, like=_reference(outputs), affine=affine)


def write_maps(outputs: CaseOutputs, probabilities: np.ndarray, *, affine: np.ndarray) -> None:
    """Write the probability maps, (R, I, J, K) float32 in the order of the regions, as `write_mask` does."""
    like = _reference(outputs)
    for path, array in zip(outputs.maps.values(), probabilities, strict=True):
        write_map(path, array, like=like, affine=affine)


def write_picture(outputs: CaseOutputs, png: bytes) -> None:
    """Write the overlay picture if it is among the outputs."""
    if outputs.picture:
        write_whole(outputs.picture, png)


def remove_report(outputs: CaseOutputs) -> None:
    """Remove an earlier report of the case, so that none is left beside a newer mask or failure.

    Its map of where members disagree is removed too; if none is asked for now, only where a run wrote it.
    """
    if outputs.report is None:
        return
    unasked = disagreement_beside(outputs.report.record)
    for path in (*outputs.report.paths, *([unasked] if is_own(unasked) else [])):
        if os.path.isfile(path) or os.path.islink(path):
            with suppress(OSError):  # writing the new one will raise the reason
                path.unlink()


def write_disagreement(outputs: CaseOutputs, share: np.ndarray, *, affine: np.ndarray) -> None:
    """Write the (I, J, K) float32 map of where members disagree if it is among the outputs."""
    if outputs.report and outputs.report.disagreement:
        write_map(outputs.report.disagreement, share, like=_reference(outputs), affine=affine)


def write_report_picture(outputs: CaseOutputs, png: bytes) -> None:
    """Write the picture of the case's report if a report is among the outputs."""
    if outputs.report:
        write_whole(outputs.report.picture, png)


def write_record(outputs: CaseOutputs, text: str) -> None:
    """Write the JSON file of the case's report if a report is among the outputs."""
    if outputs.report:
        write_whole(outputs.report.record, text.encode())


def stand_in(outputs: CaseOutputs, *, is_readable: bool = True) -> tuple[bool, str]:
    """Write an empty mask on the grid of the t1c, else of another sequence, else on BraTS's standard grid.

    An earlier mask with tumour in it is never replaced by an empty one.

    Args:
        is_readable: whether the scans may be read at all.

    Returns:
        Whether the mask's file exists now, and a note; the note is empty where the file's name is too long.
    """
    path, files = outputs.mask, outputs.case.files
    if _is_too_long(path):
        return False, ""
    if holds_tumour(path):
        return True, "the existing mask was left as it is"
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
    """The scan on whose grid everything is written; every case that was read has one."""
    if outputs.case.reference is None:
        raise ValueError(f"{outputs.case.name}: no scan")
    return outputs.case.reference


def _is_too_long(path: Path) -> bool:
    """Whether the path's name is too long for the file system."""
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def _is_the_users(path: Path, outputs: CaseOutputs) -> bool:
    """Whether the path is that of an existing file of the input that no run wrote."""
    return path in outputs.in_input and os.path.lexists(path) and not is_own(path)


def holds_tumour(path: Path) -> bool:
    """Whether the path is a readable label map with at least one labelled voxel."""
    try:
        return os.path.isfile(path) and bool(read_label_map(path).array.any())
    except InputError:
        return False
