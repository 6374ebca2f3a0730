"""A case's four scans as one volume, which needs them to lie on one grid."""

import numpy as np

from htcnns.errors import InputError
from htcnns.files.cases import Case
from htcnns.files.nifti import read_grid, read_volume
from htcnns.labels import SEQUENCES, Sequence
from htcnns.volume import Volume, grid_difference_mm

GRID_TOLERANCE_MM = 1e-3
Grid = tuple[tuple[int, int, int], np.ndarray]  # shape and affine


def read_case(case: Case) -> Volume:
    """The case's four scans as one (4, I, J, K) float32 volume in the order of SEQUENCES, on the grid of its t1c.

    Raises:
        InputError: a sequence is missing, a file is refused, or a scan lies on another grid than the others.
    """
    if case.missing:
        raise InputError(case.what_is_missing())
    grids = {sequence: read_grid(case.files[sequence]) for sequence in SEQUENCES}
    _require_one_grid(case, grids)
    shape, affine = grids[Sequence.T1C]
    stack = np.empty((len(SEQUENCES), *shape[::-1]), np.float32)  # (4, K, J, I), as files hold it: nothing is moved
    for scan, sequence in zip(stack, SEQUENCES, strict=True):
        read_volume(case.files[sequence], into=scan.T)
    return Volume(stack.transpose(0, 3, 2, 1), affine)


def _require_one_grid(case: Case, grids: dict[Sequence, Grid]) -> None:
    """The grid that most scans share is the right one; between equals the t1c's, as the mask lies on that."""
    sharing = {
        sequence: tuple(other for other in SEQUENCES if not _difference(grids[other], grid))
        for sequence, grid in grids.items()
    }
    right = max(SEQUENCES, key=lambda sequence: (len(sharing[sequence]), sequence is Sequence.T1C))
    odd = [
        f"{sequence} ({case.files[sequence].name}) {_difference(grids[sequence], grids[right])}"
        for sequence in SEQUENCES
        if sequence not in sharing[right]
    ]
    if odd:
        raise InputError(
            f"{case.name}: {', '.join(odd)}, found against {', '.join(sharing[right])}; expected one grid within "
            f"{GRID_TOLERANCE_MM} mm. Bring all four onto one grid, for example with the tool that registered them."
        )


def _difference(grid: Grid, other: Grid) -> str:
    """How the grid differs from the other, in words; empty where it does not."""
    (shape, affine), (wanted, wanted_affine) = grid, other
    if shape != wanted:
        return f"has {' x '.join(map(str, shape))} voxels instead of {' x '.join(map(str, wanted))}"
    mm = grid_difference_mm(affine, wanted_affine, shape)
    return f"lies up to {mm:.3f} mm off" if mm > GRID_TOLERANCE_MM else ""
