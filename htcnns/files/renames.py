"""The cases of a folder as rows of a table, with the renames that would complete them."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from htcnns.files.cases import Case, Search
from htcnns.files.names.brats import Convention
from htcnns.files.names.words import letters, sequences_in, stem
from htcnns.labels import Sequence


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table of cases.

    Attributes:
        case: its name.
        rename: such as "a_T1.nii to x-t1n.nii"; empty where no renaming would help.
    """

    case: str
    naming: Convention
    found: tuple[Sequence, ...]
    missing: tuple[Sequence, ...]
    rename: tuple[str, ...]


def case_rows(result: Search) -> tuple[Row, ...]:
    """One row per case; what to rename is found among the near misses of the leftovers."""
    near = _near_misses(result)
    return tuple(
        Row(
            case=case.name,
            naming=case.naming,
            found=case.found,
            missing=case.missing,
            rename=tuple(_renames(case, near[case.name])),
        )
        for case in result.cases
    )


def _near_misses(result: Search) -> dict[str, list[Path]]:
    """The near misses that may be a case's, by its name: those in its own folder, or else those that begin as it does.

    Case and separators are ignored. A name is looked up by each of its beginnings, which is quick for many cases.
    """
    own: dict[Path, list[str]] = defaultdict(list)
    flat: dict[tuple[Path, str], list[str]] = defaultdict(list)
    for case in result.cases:
        if case.flat:
            flat[case.folder, letters(case.name)].append(case.name)
        else:
            own[case.folder].append(case.name)
    near: dict[str, list[Path]] = defaultdict(list)
    for path in (leftover.path for leftover in result.leftovers if leftover.is_near_miss):
        name = letters(path.name)
        of_start = [case for n in range(len(name) + 1) for case in flat.get((path.parent, name[:n]), ())]
        for case_name in own[path.parent] + of_start:
            near[case_name].append(path)
    return near


def _renames(case: Case, near: list[Path]) -> Iterator[str]:
    """Which near misses look like a missing sequence of the case, and how to name them."""
    for path in near:
        called = stem(path.name) or path.name
        sequences = sequences_in(called)
        if len(sequences) == 1 and sequences[0] in case.missing:
            wanted = stem(case.file_name(sequences[0]))
            yield f"{path.name} to {wanted}{path.name[len(called) :].lower()}"
