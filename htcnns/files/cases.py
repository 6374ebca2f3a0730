"""Find cases in a folder, recognise how each is named, and say what is missing."""

import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from htcnns.errors import InputError
from htcnns.files import naming as names
from htcnns.files.nnunet import channel_order, sequence_of
from htcnns.files.walk import walk
from htcnns.labels import SEQUENCES, Sequence


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
    order: tuple[Sequence, ...] = ()
    if not holds_masks and any(names.read_nnunet(_stem(file)) for file in files):
        order = channels or channel_order(folder)
    named = [_read_strict(file, order) for file in files]
    masks = {file for file in files if holds_masks or names.is_mask(_stem(file))}
    if not any(name and name.sequence for name in named):
        named = [_read_free(file, folder, is_mask=file in masks) for file in files]
    understood = [name for name in named if name]
    known = masks | {name.path for name in understood}
    leftovers = [_leftover(file) for file in files if file not in known]
    return list(_assemble(folder, understood, order)), leftovers


def _read_strict(file: Path, channels: tuple[Sequence, ...]) -> _Named | None:
    """A BraTS name or an nnU-Net one; None for others."""
    if brats := names.read_brats(_stem(file)):
        naming, case, sequence = brats
        return _Named(case, naming.name, sequence, file)
    if channels and (nnunet := names.read_nnunet(_stem(file))):
        case, channel = nnunet
        return _Named(case, names.NNUNET, sequence_of(channel, channels, file=file), file)
    return None


def _read_free(file: Path, folder: Path, *, is_mask: bool) -> _Named | None:
    """A name with exactly one sequence in it, of the case that the folder is called by; None for others."""
    sequences = names.read_free(_stem(file))
    if is_mask:
        return _Named(_name_of(folder), names.FREE, None, file) if names.is_segmentation(_stem(file)) else None
    return _Named(_name_of(folder), names.FREE, sequences[0], file) if len(sequences) == 1 else None


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


def _leftover(file: Path) -> Leftover:
    sequences = names.read_free(_stem(file))
    if not sequences:
        return Leftover(file, "no sequence in its name")
    if len(sequences) > 1:
        return Leftover(file, f"several sequences in its name: {', '.join(sequences)}")
    return Leftover(file, "named otherwise than the cases beside it")


def _renames(case: Case, leftovers: tuple[Leftover, ...]) -> Iterator[str]:
    """Which leftovers in the case's folder look like a missing sequence of it, and how to call them."""
    for path in (leftover.path for leftover in leftovers if leftover.path.parent == case.folder):
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
