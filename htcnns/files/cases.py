"""Cases in a folder: which file is which sequence of whom, how each case is named, and what is missing."""

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from htcnns.errors import InputError
from htcnns.files.names import words
from htcnns.files.names.brats import ENDINGS, FREE_ENDINGS, NAMINGS, Convention, read_brats
from htcnns.files.names.dataset_json import channel_endings, channel_order, read_channels, read_nnunet, sequence_of
from htcnns.files.names.free import NameReading, read_names, two_cases
from htcnns.files.places import exists, is_folder
from htcnns.files.walk import walk
from htcnns.labels import SEQUENCES, Sequence


@dataclass(frozen=True, kw_only=True)
class Case:
    """One visit of one patient: which file holds which sequence.

    Attributes:
        name: as in the file names, or the folder's name where the naming is free.
        files: the scans found; a sequence that is missing has no entry.
        naming: the convention that the file names follow.
        folder: where the files lie.
        flat: the folder's name is not the case's, so other cases may lie in it as well.
        channels: order of nnU-Net's channels; empty under any other convention.
        truth: the rater's label map, where exactly one lies beside the scans; never an input.
    """

    name: str
    files: dict[Sequence, Path]
    naming: Convention
    folder: Path
    flat: bool
    channels: tuple[Sequence, ...] = ()
    truth: Path | None = None

    @property
    def found(self) -> tuple[Sequence, ...]:
        """Sequences with a file."""
        return tuple(sequence for sequence in SEQUENCES if sequence in self.files)

    @property
    def missing(self) -> tuple[Sequence, ...]:
        """Sequences without a file."""
        return tuple(sequence for sequence in SEQUENCES if sequence not in self.files)

    def file_name(self, sequence: Sequence) -> str:
        """The name under which a sequence of this case would be found."""
        endings = ENDINGS.get(self.naming) or channel_endings(self.channels)
        return f"{self.name}{endings.get(sequence, FREE_ENDINGS[sequence])}.nii.gz"

    def require_complete(self) -> None:
        """Raise InputError where a sequence is missing; it says which file names would do."""
        if self.missing:
            raise InputError(
                f"{', '.join(self.missing)} missing",
                place=self.name,
                found=", ".join(self.found) or "none",
                remedy=f"Add {' and '.join(map(self.file_name, self.missing))} or leave the case out.",
            )


@dataclass(frozen=True)
class Leftover:
    """A NIfTI file that is no case's scan or truth.

    Attributes:
        reason: why it is none, to be read after its name.
        is_near_miss: its name says a sequence, but not in the way of the cases beside it.
    """

    path: Path
    reason: str
    is_near_miss: bool = False


@dataclass(frozen=True)
class Search:
    """What a folder holds: cases by name, complete or not, and the NIfTI files that belong to none."""

    cases: tuple[Case, ...]
    leftovers: tuple[Leftover, ...]


def find_cases(
    root: Path, *, channels: tuple[Sequence, ...] | None = None, skip: Collection[Path] = ()
) -> tuple[Case, ...]:
    """The cases of `search`, sorted by name; incomplete ones are among them."""
    return search(root, channels=channels, skip=skip).cases


def search(root: Path, *, channels: tuple[Sequence, ...] | None = None, skip: Collection[Path] = ()) -> Search:
    """Every case below `root`, which may be one case itself, and every NIfTI file that was left over.

    Hidden files and folders are ignored; links are followed, each folder once, but never to `root` or above it.

    Args:
        channels: order of nnU-Net's channels 0000, 0001, …; None reads `dataset.json` in their folder or the one above.
        skip: folders below `root` that are not searched, such as the one that masks are written to.

    Raises:
        InputError: `root` is no readable folder or holds no case; a sequence has two files, a name two cases;
            the channel order of nnU-Net names is unknown.
    """
    if not is_folder(root):
        raise InputError(
            "is a file" if exists(root) else "does not exist",
            place=root,
            expected="a folder of cases",
            remedy="Give the folder that holds the scans.",
        )
    cases: list[Case] = []
    leftovers: list[Leftover] = []
    kinds: Counter[str] = Counter()
    for folder, files in walk(root, skip=skip):
        found, rest = _cases_in(folder, [file for file in files if words.stem(file.name)], channels)
        cases += found
        leftovers += rest
        kinds.update("NIfTI" if words.stem(file.name) else file.suffix or "without ending" for file in files)
    if not cases:
        raise _no_case(root, leftovers, kinds)
    cases.sort(key=lambda case: case.name)
    _require_different_names(cases)
    return Search(tuple(cases), tuple(leftovers))


@dataclass(frozen=True)
class _NamedFile:
    """A file whose name was understood; the sequence of a truth is None."""

    path: Path
    case: str
    naming: Convention
    sequence: Sequence | None


def _cases_in(
    folder: Path, files: list[Path], channels: tuple[Sequence, ...] | None
) -> tuple[list[Case], list[Leftover]]:
    """The cases whose files lie in this very folder, and its NIfTI files that belong to none."""
    holds_masks = words.is_mask_folder(folder.name)
    order = () if holds_masks else _channel_order(folder, files, channels)
    named = _read_strict(files, order)
    readings = read_names([_stem(file) for file in files])
    if not holds_masks and not any(name.sequence for name in named):
        named = [name for file in files if (name := _read_free(file, folder, readings[_stem(file)]))]
    cases = list(_assemble(folder, named, order))
    for case in cases:
        _require_one_patient(case)
    known = {path for case in cases for path in (*case.files.values(), case.truth)}
    rest = [file for file in files if file not in known and not _is_mask_of(cases, file, readings[_stem(file)])]
    return cases, [leftover for file in rest if (leftover := _leftover(file, readings[_stem(file)]))]


def _channel_order(folder: Path, files: list[Path], channels: tuple[Sequence, ...] | None) -> tuple[Sequence, ...]:
    """The order of nnU-Net's channels where a file of the folder is named by them, else nothing."""
    return (channels or channel_order(folder)) if read_channels(map(_stem, files)) else ()


def _read_strict(files: list[Path], order: tuple[Sequence, ...]) -> list[_NamedFile]:
    """The files with a BraTS name or, where there is an order of channels, an nnU-Net one."""
    nnunet = read_channels(map(_stem, files), order) if order else {}
    named = []
    for file in files:
        if brats := read_brats(_stem(file)):
            naming, case, sequence = brats
            named.append(_NamedFile(file, case, naming, sequence))
        elif _stem(file) in nnunet:
            case, channel = nnunet[_stem(file)]
            named.append(_NamedFile(file, case, Convention.NNUNET, sequence_of(channel, order, file=file)))
    return named


def _read_free(file: Path, folder: Path, reading: NameReading) -> _NamedFile | None:
    """A scan or a truth of the case that the folder is named after; None for others."""
    if reading.sequence or (reading.is_mask and words.is_segmentation(_stem(file))):
        return _NamedFile(file, _name_of(folder), Convention.FREE, reading.sequence)
    return None


def _require_one_patient(case: Case) -> None:
    """Scans of two patients must not become one case because they share a folder; strict names cannot."""
    scans = {_stem(path): path.name for path in case.files.values()}
    if case.naming is Convention.FREE and (pair := two_cases(list(scans))):
        one, other = (scans[stem] for stem in pair)
        raise InputError(
            f"{one} and {other} belong to two cases by their names",
            place=case.folder,
            expected="the scans of one case, as free names do not say whose a scan is",
            remedy="Give each case a folder of its own, or name its files alike.",
        )


def _assemble(folder: Path, named: list[_NamedFile], channels: tuple[Sequence, ...]) -> Iterator[Case]:
    """The cases that the files of a folder make up; truths without scans make none."""
    groups: dict[tuple[str, Convention], list[_NamedFile]] = defaultdict(list)
    for name in named:
        groups[name.case, name.naming].append(name)
    for (case, naming), members in groups.items():
        files = _one_file_each(folder, members)
        truths = [name.path for name in members if name.sequence is None]
        if files:
            yield Case(
                name=case,
                files=files,
                naming=naming,
                folder=folder,
                flat=_name_of(folder) != case,
                channels=channels if naming is Convention.NNUNET else (),
                truth=truths[0] if len(truths) == 1 else None,
            )


def _one_file_each(folder: Path, members: list[_NamedFile]) -> dict[Sequence, Path]:
    """The file of each sequence; raises InputError where there are two."""
    files: dict[Sequence, Path] = {}
    for name in members:
        if name.sequence in files:
            raise InputError(
                f"two files for {name.sequence} of {name.case}: {files[name.sequence].name} and {name.path.name}",
                place=folder,
                expected="one",
                remedy="Move one away, or give each case a folder of its own.",
            )
        if name.sequence:
            files[name.sequence] = name.path
    return files


def _is_mask_of(cases: list[Case], file: Path, reading: NameReading) -> bool:
    """Whether the file is a mask that belongs to one of the cases beside it."""
    ours = any(case.naming is Convention.FREE or words.same_letters(file.name, case.name) for case in cases)
    return ours and (reading.is_mask or words.is_segmentation(_stem(file)))


def _leftover(file: Path, reading: NameReading) -> Leftover | None:
    """Why the file was left over; None for a label map in a folder of such."""
    if words.is_mask_folder(file.parent.name):
        return Leftover(file, f"in {file.parent.name}, a folder of label maps") if reading.sequence else None
    if reading.sequence:
        return Leftover(file, "named in another way than the cases beside it", is_near_miss=True)
    if read_nnunet(_stem(file)) and not reading.is_mask:
        return Leftover(file, f"{reading.reason}; an nnU-Net case has several channels, 0000 among them")
    return Leftover(file, reading.reason)


def _require_different_names(cases: list[Case]) -> None:
    for case, following in itertools.pairwise(cases):
        if case.name == following.name:
            raise InputError(
                f"two cases of this name, {case.naming} in {case.folder} and {following.naming} in {following.folder}",
                place=case.name,
                expected="one, as the mask is named after the case",
                remedy="Rename one or give the folders one by one.",
            )


def _no_case(root: Path, leftovers: list[Leftover], kinds: Counter[str]) -> InputError:
    """The error of a folder without a case; it says what lies there instead."""
    such = f" (such as {leftovers[0].path.name}: {leftovers[0].reason})" if leftovers else ""
    return InputError(
        "no case",
        place=root,
        found=(", ".join(f"{n} {kind}" for kind, n in kinds.most_common(4)) or "nothing") + such,
        expected=f"NIfTI files named like {', '.join(naming.example for naming in NAMINGS)}",
        remedy="Rename them so, or give each case a folder whose file names have t1n, t1c, t2w and t2f as words.",
    )


def _stem(file: Path) -> str:
    return words.stem(file.name) or file.name


def _name_of(folder: Path) -> str:
    return os.path.basename(os.path.abspath(folder)) or "case"  # only "/" has no name
