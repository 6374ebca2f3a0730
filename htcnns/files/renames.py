"""The cases of a folder as rows of a table, with renames that would complete them and files that cannot be read."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from htcnns.files.cases import Case, Search
from htcnns.files.names.brats import Convention
from htcnns.files.names.free import two_cases
from htcnns.files.names.words import sequences_in, stem, words
from htcnns.labels import Sequence

_Start = tuple[Path, tuple[str, ...]]  # a folder, and the words that the names of a case's files begin with


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table of cases.

    Attributes:
        case: name of the case.
        rename: suggestions such as "a_T1.nii to x-t1n.nii"; empty where no renaming would help.
        unread: reasons such as "a_T1.mha is MetaImage, not NIfTI", for files of missing sequences that cannot be read.
    """

    case: str
    naming: Convention
    found: tuple[Sequence, ...]
    missing: tuple[Sequence, ...]
    rename: tuple[str, ...]
    unread: tuple[str, ...]


def case_rows(result: Search) -> tuple[Row, ...]:
    """One row per case; files to rename are chosen from the leftovers that are near misses."""
    near = _near_misses(result)
    return tuple(
        Row(
            case=case.name,
            naming=case.naming,
            found=case.found,
            missing=case.missing,
            rename=tuple(_renames(case, near[case.name])),
            unread=tuple(f"{path.name} is {reason}" for path, reason in case.unread),
        )
        for case in result.cases
    )


def _near_misses(result: Search) -> dict[str, list[Path]]:
    """The near misses of each case, by the case's name; a file that fits several cases or none is left out.

    A file belongs to the case with the longest name that its own name begins with, else to the case whose folder it is
    in.
    """
    own: dict[Path, list[Case]] = defaultdict(list)
    flat: dict[_Start, list[Case]] = defaultdict(list)
    for case in result.cases:
        if case.flat:
            flat[case.folder, tuple(words(case.name))].append(case)
        else:
            own[case.folder].append(case)
    near: dict[str, list[Path]] = defaultdict(list)
    for path in (leftover.path for leftover in result.leftovers if leftover.is_near_miss):
        owners = _named_by(path, flat) or [case for case in own[path.parent] if _may_be_of(case, path)]
        if len(owners) == 1:
            near[owners[0].name].append(path)
    return near


def _named_by(path: Path, flat: dict[_Start, list[Case]]) -> list[Case]:
    """The flat cases with the longest name that the file's name begins with, word by word.

    Upper case and separators are ignored, but words must be equal: x_2_11 does not belong to x_2_1. Nor does a file
    whose name goes on with a number: x_2_1_1 does not belong to x_2_1 either.
    """
    called = tuple(words(_stem(path)))
    for n in range(len(called), 0, -1):
        if cases := flat.get((path.parent, called[:n])):
            is_longer = n < len(called) and called[n].isdecimal()
            return [] if is_longer else cases
    return []


def _may_be_of(case: Case, path: Path) -> bool:
    """Whether nothing in the name of a file in the case's folder suggests another case than the scans do."""
    return two_cases([*map(_stem, case.files.values()), _stem(path)]) is None


def _renames(case: Case, near: Iterable[Path]) -> Iterator[str]:
    """Renames of near misses that look like a missing sequence; "either … or" where several look like the same one."""
    advice: dict[Sequence, list[str]] = defaultdict(list)
    for path in near:
        called = _stem(path)
        sequences = sequences_in(called)
        if len(sequences) == 1 and sequences[0] in case.missing:
            wanted = stem(case.file_name(sequences[0]))
            advice[sequences[0]].append(f"{path.name} to {wanted}{path.name[len(called) :].lower()}")
    for renames in advice.values():
        yield renames[0] if len(renames) == 1 else f"either {' or '.join(renames)}"


def _stem(path: Path) -> str:
    return stem(path.name) or path.name
