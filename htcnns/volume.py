"""A volume is an array of voxels with the affine that places it in the world: its grid, its voxels, its orientation."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]
Box = tuple[slice, slice, slice]

SPACING_TOLERANCE_MM = 0.01  # a voxel this near to 1 mm is not resampled
GRID_TOLERANCE_MM = 0.1  # two grids whose corners lie nearer than this are the same: a tenth of a usual voxel


@dataclass(frozen=True, eq=False)
class Grid:
    """Where a scan's voxels lie; equal only to itself, so compare with `grid_difference`.

    Attributes:
        shape: (I, J, K).
        affine: (4, 4) voxel index to world mm.
        doubts: phrases on what is doubtful about the affine, to be shown after the scan's name.
    """

    shape: Shape
    affine: np.ndarray
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels and where they lie; equal only to itself, as `==` of arrays is not one bool.

    Attributes:
        array: (I, J, K), or (4, I, J, K) for the sequences of a case; float32 intensities, bool masks or uint8
            label maps.
        affine: (4, 4) float64, voxel index to world mm, RAS+.
        notes: one sentence per doubt that arose when it was read.
    """

    array: np.ndarray
    affine: np.ndarray
    notes: tuple[str, ...] = ()

    @cached_property
    def spacing_mm(self) -> Spacing:
        """Voxel size along I, J, K."""
        return spacing_mm(self.affine)

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        i, j, k = self.array.shape[-3:]
        return Grid((i, j, k), self.affine)


def spacing_mm(affine: np.ndarray) -> Spacing:
    """Voxel size along I, J, K: the lengths of the affine's columns."""
    i, j, k = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    return float(i), float(j), float(k)


def voxel_ml(affine: np.ndarray) -> float:
    """Volume of one voxel in millilitres, sheared or not: a thousandth of the determinant's absolute value."""
    i, j, k = affine[:3, :3].T
    return float(abs(i @ np.cross(j, k))) / 1000  # exact for axis-aligned grids, unlike LAPACK's logarithms


def size_text(numbers: Iterable[object]) -> str:
    """A shape or an extent in words, such as "240 x 240 x 155"."""
    return " x ".join(map(str, numbers))


def direction_cosines(affine: np.ndarray) -> np.ndarray:
    """(3, 3): columns are voxel axes of length 1, rows world axes; an axis of length 0 stays 0."""
    spacing = np.asarray(spacing_mm(affine))
    return affine[:3, :3] / np.where(spacing > 0, spacing, 1)


def shear_degrees(affine: np.ndarray) -> float:
    """Largest deviation from orthogonality between two voxel axes, in degrees."""
    i, j, k = direction_cosines(affine).T
    return float(np.degrees(np.arcsin(min(1.0, max(abs(i @ j), abs(i @ k), abs(j @ k))))))


def angle_degrees(affine: np.ndarray, other: np.ndarray) -> float:
    """Largest angle between an axis of one grid and the same axis of the other."""
    cosines = (direction_cosines(affine) * direction_cosines(other)).sum(axis=0)
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).max())


def millimetre_shape(shape: Shape, spacing: Spacing) -> Shape:
    """The shape at 1 mm; the same shape if every spacing is 1 mm already."""
    if all(abs(s - 1.0) <= SPACING_TOLERANCE_MM for s in spacing):
        return shape
    i, j, k = (max(1, round(n * s)) for n, s in zip(shape, spacing, strict=True))
    return i, j, k


def grid_difference(one: Grid, other: Grid) -> str:
    """How one grid differs from the other, in words; "" if they are the same within GRID_TOLERANCE_MM."""
    if one.shape != other.shape:
        return f"has {size_text(one.shape)} voxels instead of {size_text(other.shape)}"
    mm = grid_difference_mm(one.affine, other.affine, one.shape)
    return f"lies up to {mm:.3f} mm off" if not mm <= GRID_TOLERANCE_MM else ""


def grid_difference_mm(affine: np.ndarray, other: np.ndarray, shape: Shape) -> float:
    """Largest distance in mm between where the two affines put a corner of a grid of that shape."""
    corners = np.array([[i, j, k, 1] for i in (0, shape[0] - 1) for j in (0, shape[1] - 1) for k in (0, shape[2] - 1)])
    return float(np.linalg.norm((corners @ (affine - other).T)[:, :3], axis=1).max())


def axis_order(affine: np.ndarray) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """How the voxel axes must be turned so that I, J, K run to the left, posterior and superior (LPS).

    BraTS stores its cases in LPS, so they are not turned at all. An oblique grid is turned to the nearest axes:
    the pairing of voxel and world axes with the largest product of direction cosines.

    Returns:
        order: voxel axis that becomes I, J and K.
        flips: whether I, J and K (after ordering) must be reversed.
    """
    cosines = direction_cosines(affine)
    orders = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    order = max(orders, key=lambda p: float(np.prod(np.abs([cosines[world, p[world]] for world in range(3)]))))
    wanted = (-1.0, -1.0, 1.0)  # world is RAS+, LPS runs against the first two
    i, j, k = (bool(cosines[world, order[world]] * wanted[world] < 0) for world in range(3))
    return order, (i, j, k)


def axis_names(affine: np.ndarray) -> str:
    """Directions of the voxel axes, such as "LPS" for left, posterior, superior; the nearest ones if oblique."""
    order, flips = axis_order(affine)
    names = [("L", "R"), ("P", "A"), ("S", "I")]
    return "".join(names[order.index(axis)][flips[order.index(axis)]] for axis in range(3))


def turn(array: np.ndarray, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> np.ndarray:
    """A view of (…, I, J, K) with its last three axes ordered and reversed as `axis_order` returns."""
    lead = array.ndim - 3
    turned = array.transpose(*range(lead), *(lead + axis for axis in order))
    return turned[(..., *(slice(None, None, -1) if flip else slice(None) for flip in flips))]


def turned_affine(
    affine: np.ndarray, shape: Shape, order: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> np.ndarray:
    """The (4, 4) affine of a turned array; `affine` and `shape` are those before `turn`."""
    back = np.zeros((4, 4))
    back[3, 3] = 1
    for axis, (own, flip) in enumerate(zip(order, flips, strict=True)):
        back[own, axis] = -1 if flip else 1
        back[own, 3] = shape[own] - 1 if flip else 0
    return affine @ back


def turn_back(array: np.ndarray, order: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> np.ndarray:
    """The inverse of `turn`, also a view."""
    unflipped = array[(..., *(slice(None, None, -1) if flip else slice(None) for flip in flips))]
    lead = array.ndim - 3
    return unflipped.transpose(*range(lead), *(lead + int(axis) for axis in np.argsort(order)))


def bounding_box(mask: np.ndarray) -> Box | None:
    """The smallest box that contains every True of an (I, J, K) bool mask; None if there is none."""
    slices = []
    for axis in range(3):
        hits = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if hits.size == 0:
            return None
        slices.append(slice(int(hits[0]), int(hits[-1]) + 1))
        mask = mask[(slice(None),) * axis + (slices[-1],)]  # the next axis is searched only inside the box so far
    return slices[0], slices[1], slices[2]


def box_shape(box: Box) -> Shape:
    """Edges of the box in voxels."""
    i, j, k = (edge.stop - edge.start for edge in box)
    return i, j, k


def uncrop(array: np.ndarray, box: Box, shape: Shape) -> np.ndarray:
    """(…, I, J, K) zeros of that shape, with `array` in `box`: the inverse of `array[..., *box]`."""
    whole = np.zeros((*array.shape[:-3], *shape), array.dtype)
    whole[(..., *box)] = array
    return whole
