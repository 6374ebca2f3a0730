"""Find cases in a folder, recognise how each is named, and say what is missing."""

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from htcnns.errors import InputError
from htcnns.files import naming as names
from htcnns.files.free import Said, read_names, two_cases
from htcnns.files.nnunet import channel_order, read_channels, sequence_of
from htcnns.files.walk import walk
from htcnns.labels import SEQUENCES, Sequence

_OTHERWISE = "named otherwise than the cases beside it"


@dataclass(frozen=True)
class Case:
    """One visit of one patient: which file holds which sequence.

    Attributes:
        name: as in the file names, or the folder's name where the naming is free.
        files: the scans found; a sequence that is missing has no entry.
        naming: "BraTS 2017-20", "BraTS 2021-22", "BraTS 2023+", "nnU-Net" or "free".
        folder: where the files lie.
        flat: the folder is not this case's own: it is called otherwise.
        endings: what the naming puts between the case's name and `.nii.gz`.
        truth: the rater's label map, where exactly one lies beside the scans; never an input.
    """

    name: str
    files: dict[Sequence, Path]
    naming: str
    folder: Path
    flat: bool
    endings: dict[Sequence, str] = field(default_factory=lambda: names.FREE_ENDINGS)
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
        ending = self.endings.get(sequence, names.FREE_ENDINGS[sequence])
        return f"{self.name}{ending}.nii.gz"

    def what_is_missing(self) -> str:
        """One sentence on the missing sequences and the names that would do; empty when the case is complete."""
        if not self.missing:
            return ""
        found = ", ".join(self.found) or "none"
        wanted = " and ".join(self.file_name(sequence) for sequence in self.missing)
        return f"{self.name}: {', '.join(self.missing)} missing; found {found}. Add {wanted} or leave the case out."


@dataclass(frozen=True)
class Leftover:
    """A NIfTI file that is no case's scan or truth, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Search:
    """What a folder holds: cases by name, complete or not, and the NIfTI files that belong to none."""

    cases: tuple[Case, ...]
    leftovers: tuple[Leftover, ...]


@dataclass(frozen=True)
class Row:
    """One line of the table that `htcnns cases` prints; `rename` is empty where no renaming would help."""

    case: str
    naming: str
    found: tuple[Sequence, ...]
    missing: tuple[Sequence, ...]
    rename: tuple[str, ...]


def find_cases(
    root: Path, *, channels: tuple[Sequence, ...] | None = None, skip: Collection[Path] = ()
) -> tuple[Case, ...]:
    """The cases of `search`, sorted by name; incomplete ones are among them."""
    return search(root, channels=channels, skip=skip).cases


def search(root: Path, *, channels: tuple[Sequence, ...] | None = None, skip: Collection[Path] = ()) -> Search:
    """Every case below `root`, which may be one case itself, and every NIfTI file that was left over.

    Hidden files and folders are passed by; links are followed, each folder once, but never to `root` or above it.

    Args:
        channels: what nnU-Net's 0000, 0001, … are; None reads `dataset.json` in their folder or the one above.
        skip: folders below `root` that are not looked into, such as the one that masks are written to.

    Raises:
        InputError: `root` is no readable folder or holds no case; a sequence has two files, a name two cases;
            nobody gives the channel order of nnU-Net names.
    """
    if not os.path.isdir(root):
        problem = "is a file" if os.path.exists(root) else "does not exist"
        raise InputError(f"{root}: {problem}; expected a folder of cases. Give the folder that holds the scans.")
    cases: list[Case] = []
    leftovers: list[Leftover] = []
    kinds: Counter[str] = Counter()
    for folder, files in walk(root, skip=skip):
        found, rest = _cases_in(folder, [file for file in files if names.stem(file.name)], channels)
        cases += found
        leftovers += rest
        kinds.update("NIfTI" if names.stem(file.name) else file.suffix or "without ending" for file in files)
    if not cases:
        raise InputError(_no_case(root, leftovers, kinds))
    cases.sort(key=lambda case: case.name)
    _require_different_names(cases)
    return Search(tuple(cases), tuple(leftovers))


def case_rows(result: Search) -> tuple[Row, ...]:
    """A row for each case; what to rename comes from near misses among the leftovers."""
    return tuple(
        Row(case.name, case.naming, case.found, case.missing, tuple(_renames(case, result.leftovers)))
        for case in result.cases
    )


@dataclass(frozen=True)
class _Named:
    """A file whose name was understood; the sequence of a truth is None."""

    case: str
    naming: str
    sequence: Sequence | None
    path: Path


def _cases_in(
    folder: Path, files: list[Path], channels: tuple[Sequence, ...] | None
) -> tuple[list[Case], list[Leftover]]:
    """The cases whose files lie in this very folder, and its NIfTI files that belong to none."""
    holds_masks = names.is_mask_folder(folder.name)
    order = () if holds_masks else _channel_order(folder, files, channels)
    named = _read_strict(files, order)
    said = read_names([_stem(file) for file in files])
    if not holds_masks and not any(name.sequence for name in named):
        named = [name for file in files if (name := _read_free(file, folder, said[_stem(file)]))]
    cases = list(_assemble(folder, named, order))
    for case in cases:
        _require_one_patient(case)
    known = {path for case in cases for path in (*case.files.values(), case.truth)}
    rest = [file for file in files if file not in known and not _is_mask_of(cases, file, said[_stem(file)])]
    return cases, [leftover for file in rest if (leftover := _leftover(file, said[_stem(file)]))]


def _channel_order(folder: Path, files: list[Path], channels: tuple[Sequence, ...] | None) -> tuple[Sequence, ...]:
    """The order of nnU-Net's channels where a file of the folder is called by them, else nothing."""
    return (channels or channel_order(folder)) if read_channels(map(_stem, files)) else ()


def _read_strict(files: list[Path], order: tuple[Sequence, ...]) -> list[_Named]:
    """The files with a BraTS name or, where there is an order of channels, an nnU-Net one."""
    nnunet = read_channels(map(_stem, files), order) if order else {}
    named = []
    for file in files:
        if brats := names.read_brats(_stem(file)):
            naming, case, sequence = brats
            named.append(_Named(case, naming.name, sequence, file))
        elif _stem(file) in nnunet:
            case, channel = nnunet[_stem(file)]
            named.append(_Named(case, names.NNUNET, sequence_of(channel, order, file=file), file))
    return named


def _read_free(file: Path, folder: Path, said: Said) -> _Named | None:
    """A scan or a truth of the case that the folder is called by; None for others."""
    if said.sequence or (said.is_mask and names.is_segmentation(_stem(file))):
        return _Named(_name_of(folder), names.FREE, said.sequence, file)
    return None


def _require_one_patient(case: Case) -> None:
    """Scans of two patients must not become one case because they share a folder; strict names cannot."""
    scans = {_stem(path): path.name for path in case.files.values()}
    if case.naming == names.FREE and (pair := two_cases(list(scans))):
        one, other = (scans[stem] for stem in pair)
        raise InputError(
            f"{case.folder}: {one} and {other} are of two cases by their names; expected the scans of one case, as "
            "free names do not say whose a scan is. Give each case a folder of its own, or name its files alike."
        )


def _assemble(folder: Path, named: list[_Named], channels: tuple[Sequence, ...]) -> Iterator[Case]:
    endings = {naming.name: naming.endings for naming in names.NAMINGS}
    endings[names.NNUNET] = {sequence: f"_{number:04d}" for number, sequence in enumerate(channels)}
    endings[names.FREE] = names.FREE_ENDINGS
    groups: dict[tuple[str, str], list[_Named]] = defaultdict(list)
    for name in named:
        groups[name.case, name.naming].append(name)
    for (case, naming), members in groups.items():
        files = _one_file_each(folder, members)
        truths = [name.path for name in members if name.sequence is None]
        truth = truths[0] if len(truths) == 1 else None
        if files:
            yield Case(case, files, naming, folder, _name_of(folder) != case, endings[naming], truth)


def _one_file_each(folder: Path, members: list[_Named]) -> dict[Sequence, Path]:
    files: dict[Sequence, Path] = {}
    for name in members:
        if name.sequence in files:
            raise InputError(
                f"{folder}: two files for {name.sequence} of {name.case}: {files[name.sequence].name} and "
                f"{name.path.name}; expected one. Take one away, or give each case a folder of its own."
            )
        if name.sequence:
            files[name.sequence] = name.path
    return files


def _is_mask_of(cases: list[Case], file: Path, said: Said) -> bool:
    """Whether the file is a mask that belongs to one of the cases beside it."""
    ours = any(case.naming == names.FREE or names.same_letters(file.name, case.name) for case in cases)
    return ours and (said.is_mask or names.is_segmentation(_stem(file)))


def _leftover(file: Path, said: Said) -> Leftover | None:
    """Why the file was left over; None for a label map in a folder of such."""
    if names.is_mask_folder(file.parent.name):
        return Leftover(file, f"in {file.parent.name}, a folder of label maps") if said.sequence else None
    if said.sequence:
        return Leftover(file, _OTHERWISE)
    if names.read_nnunet(_stem(file)) and not said.is_mask:
        return Leftover(file, f"{said.reason}; nnU-Net's would be several channels of a case, 0000 among them")
    return Leftover(file, said.reason)


def _renames(case: Case, leftovers: tuple[Leftover, ...]) -> Iterator[str]:
    """Which leftovers in the case's folder look like a missing sequence of it, and how to call them."""
    near = (leftover.path for leftover in leftovers if leftover.reason == _OTHERWISE)
    for path in (path for path in near if path.parent == case.folder):
        sequences = names.read_free(_stem(path))
        ours = not case.flat or names.same_letters(path.name, case.name)
        if ours and len(sequences) == 1 and sequences[0] in case.missing:
            suffix = path.name[len(_stem(path)) :].lower()
            yield f"{path.name} to {case.file_name(sequences[0]).removesuffix('.nii.gz')}{suffix}"


def _require_different_names(cases: list[Case]) -> None:
    for case, following in itertools.pairwise(cases):
        if case.name == following.name:
            raise InputError(
                f"{case.name}: two cases of this name, {case.naming} in {case.folder} and {following.naming} in "
                f"{following.folder}; expected one, as masks are called by it. Rename one or give them one by one."
            )


def _no_case(root: Path, leftovers: list[Leftover], kinds: Counter[str]) -> str:
    saw = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common(4)) or "nothing"
    such = f" (such as {leftovers[0].path.name}: {leftovers[0].reason})" if leftovers else ""
    examples = ", ".join(naming.example for naming in names.NAMINGS)
    return (
        f"{root}: no case found; the files seen are {saw}{such}, expected NIfTI files called like {examples}. Rename "
        "them so, or give each case a folder whose files hold t1n, t1c, t2w and t2f as words in their names."
    )


def _stem(file: Path) -> str:
    return names.stem(file.name) or file.name


def _name_of(folder: Path) -> str:
    return os.path.basename(os.path.abspath(folder)) or "case"  # only "/" has no name
