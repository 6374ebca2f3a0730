"""A case's scans as one volume; they must lie on one grid."""

import numpy as np

from htcnns.errors import InputError
from htcnns.files.cases import Case
from htcnns.files.file_mark import changed_scan, file_mark
from htcnns.files.header_checks import require_head
from htcnns.files.nifti import read_grid, read_volume
from htcnns.image.notes import Kind, Note
from htcnns.labels import SEQUENCES, Sequence
from htcnns.volume import GRID_TOLERANCE_MM, Grid, Volume, grid_difference


def read_case(case: Case, *, most_missing: int = 0) -> Volume:
    """The case's scans as one (4, I, J, K) float32 volume in the order of SEQUENCES, on the grid of its reference.

    Args:
        most_missing: number of sequences that the case may lack; each of them is 0 everywhere, and noted.

    Raises:
        InputError: more sequences are missing, a file is refused or changes while the case is read, a scan lies on
            another grid than the others, or the grid cannot be that of a head.
    """
    case.require_complete(most_missing=most_missing)
    marks = {sequence: file_mark(case.files[sequence]) for sequence in case.found}
    grids = {sequence: read_grid(case.files[sequence]) for sequence in case.found}
    _require_one_grid(case, grids)
    grid = next(grid for sequence, grid in grids.items() if case.files[sequence] == case.reference)
    require_head(grid, case.name)
    # (4, K, J, I), as in the files: nothing is moved
    stack = np.empty((len(SEQUENCES), *grid.shape[::-1]), np.float32)
    for scan, sequence in zip(stack, SEQUENCES, strict=True):
        if sequence not in grids:
            scan[:] = 0
            continue
        volume = read_volume(case.files[sequence], into=scan.T)
        if grid_difference(volume.grid, grids[sequence]):
            raise changed_scan(sequence, case.files[sequence], case=case.name)
    for sequence, mark in marks.items():  # checked at the end, as all scans must be of one moment
        if file_mark(case.files[sequence]) != mark:
            raise changed_scan(sequence, case.files[sequence], case=case.name)
    notes = (*_missing_notes(case), *_doubts(grids))
    return Volume(stack.transpose(0, 3, 2, 1), grid.affine, notes)


def _missing_notes(case: Case) -> list[Note]:
    """One note for each sequence without a scan."""
    said = "is missing: the networks saw nothing in its place"
    return [Note(f"{sequence} {said}", Kind.SEQUENCE_MISSING) for sequence in case.missing]


def _doubts(grids: dict[Sequence, Grid]) -> tuple[str, ...]:
    """One sentence for each doubt, beginning with the names of the sequences that share it."""
    sharing: dict[str, list[str]] = {}
    for sequence, grid in grids.items():
        for doubt in grid.doubts:
            sharing.setdefault(doubt, []).append(sequence)
    return tuple(f"{', '.join(sequences)}: {doubt}" for doubt, sequences in sharing.items())


def _require_one_grid(case: Case, grids: dict[Sequence, Grid]) -> None:
    """Raise InputError where a scan is off the grid that most share; in a tie the t1c's, as the mask lies on that."""
    sharing = {
        sequence: tuple(other for other in grids if not grid_difference(grids[other], grid))
        for sequence, grid in grids.items()
    }
    right = max(grids, key=lambda sequence: (len(sharing[sequence]), sequence is Sequence.T1C))
    odd = [
        f"{sequence} ({case.files[sequence].name}) {grid_difference(grids[sequence], grids[right])}"
        for sequence in grids
        if sequence not in sharing[right]
    ]
    if odd:
        raise InputError(
            ", ".join(odd),
            place=case.name,
            found=f"{', '.join(sharing[right])} on one grid",
            expected=f"all on it within {GRID_TOLERANCE_MM} mm",
            remedy="Bring all four onto one grid, for example with the tool that registered them.",
        )
