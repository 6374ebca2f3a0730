"""The cases of a folder as rows of a table, with the renames that would complete them."""

from collections.abc import Iterator
from dataclasses import dataclass

from htcnns.files.cases import Case, Leftover, Search
from htcnns.files.names.brats import Convention
from htcnns.files.names.words import same_letters, sequences_in, stem
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
    return tuple(
        Row(
            case=case.name,
            naming=case.naming,
            found=case.found,
            missing=case.missing,
            rename=tuple(_renames(case, result.leftovers)),
        )
        for case in result.cases
    )


def _renames(case: Case, leftovers: tuple[Leftover, ...]) -> Iterator[str]:
    """Which leftovers in the case's folder look like a missing sequence of it, and how to name them."""
    near = [leftover.path for leftover in leftovers if leftover.is_near_miss and leftover.path.parent == case.folder]
    for path in near:
        called = stem(path.name) or path.name
        sequences = sequences_in(called)
        ours = not case.flat or same_letters(path.name, case.name)
        if ours and len(sequences) == 1 and sequences[0] in case.missing:
            wanted = stem(case.file_name(sequences[0]))
            yield f"{path.name} to {wanted}{path.name[len(called) :].lower()}"
