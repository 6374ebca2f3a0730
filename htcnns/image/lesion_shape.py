"""How large the lesions of a mask are, where they lie, and their diameters as RANO measures them.

Masks are on the case's own grid; world mm are RAS+, so x increases towards the patient's right. Axial slices lie across
the voxel axis that is closest to inferior-superior.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import cc3d
import numpy as np

from htcnns.image.chords import Chord, Field, hull_voxels, longest_across, longest_chords, widest_mm
from htcnns.image.components import components
from htcnns.labels import Region, region_mask
from htcnns.volume import axis_order, bounding_box, turn, turned_affine, voxel_ml

MIDLINE_MM = 5.0  # a lesion centred closer than this to the brain's middle has no side: third ventricle, falx
_BORDERS = (("right", "left"), ("anterior", "posterior"), ("inferior", "superior"))  # I, J, K run from first to second
_EQUAL_MM = 1e-6
_N_TIES = 24  # diameters of equal length whose perpendiculars are compared; a cylinder has many

Point = tuple[float, float, float]


class Side(StrEnum):
    """The side of the patient's brain on which a lesion lies."""

    LEFT = "left"
    RIGHT = "right"
    MIDLINE = "midline"


@dataclass(frozen=True, kw_only=True)
class Diameter:
    """A straight line inside a lesion, from outer face to outer face of its end voxels.

    Attributes:
        length_mm: its length.
        start_mm, stop_mm: centres of its end voxels in world mm.
    """

    length_mm: float
    start_mm: Point
    stop_mm: Point


@dataclass(frozen=True, kw_only=True)
class AxialDiameters:
    """The two diameters of one axial slice.

    Attributes:
        longest: longest diameter in any slice.
        perpendicular: longest diameter perpendicular to it in the same slice and lesion.
    """

    longest: Diameter
    perpendicular: Diameter

    @property
    def product_mm2(self) -> float:
        """Product of the two diameters."""
        return self.longest.length_mm * self.perpendicular.length_mm


def lesion_volumes_ml(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Volume of every 26-connected lesion of an (I, J, K) mask, largest first; (0,) if the mask is empty."""
    return np.sort(components(mask)[1][1:])[::-1] * voxel_ml(affine)


def largest_lesion(mask: np.ndarray) -> np.ndarray:
    """(I, J, K) bool: the 26-connected lesion with the most voxels; empty if the mask is."""
    box = bounding_box(mask)
    largest = np.zeros(mask.shape, bool)
    if box is not None:
        component_map, n_voxels = components(mask[box])
        largest[box] = component_map == 1 + n_voxels[1:].argmax()
    return largest


def centroid_mm(mask: np.ndarray, affine: np.ndarray) -> Point:
    """Mean position of the mask's voxels in world mm; nan if the mask is empty."""
    box = bounding_box(mask)
    if box is None:
        return np.nan, np.nan, np.nan
    within = mask[box]
    n_voxels = np.count_nonzero(within)
    middle = [
        float(_profile(within, axis) @ np.arange(part.start, part.stop)) / n_voxels for axis, part in enumerate(box)
    ]
    return _world(affine, middle)


def side_of(x_mm: float, middle_x_mm: float) -> Side:
    """The side on which a point with this world x lies, relative to the x of the brain's middle."""
    if abs(x_mm - middle_x_mm) < MIDLINE_MM:
        return Side.MIDLINE
    return Side.RIGHT if x_mm > middle_x_mm else Side.LEFT


def touched_borders(label_map: np.ndarray, affine: np.ndarray, region: Region = Region.WT) -> tuple[str, ...]:
    """Sides of the image, such as "inferior", where the outermost layer of an (I, J, K) label map has the region."""
    turned = turn(label_map, *axis_order(affine))
    return tuple(
        name
        for axis, names in enumerate(_BORDERS)
        for name, place in zip(names, (0, -1), strict=True)
        if region_mask(turned[(slice(None),) * axis + (place,)], region).any()
    )


def axial_diameters(mask: np.ndarray, affine: np.ndarray, *, within: np.ndarray | None = None) -> AxialDiameters | None:
    """The longest diameter in any axial slice, and the longest perpendicular to it there; None for an empty mask.

    Of several equally long ones, the one with the longest perpendicular is taken.

    Args:
        mask: (I, J, K) bool voxels in which diameters begin and end, such as the enhancing tumour.
        affine: (4, 4) voxel index to world mm.
        within: (I, J, K) bool voxels that they may also cross, such as the necrosis in it; None for the mask alone.

    Source: RANO, Wen 2010 (doi 10.1200/JCO.2009.26.3541): the product of the largest perpendicular diameters.
    """
    ends, inside, grid = _turned(mask, within, affine)
    steps_mm = grid[:3, :2].T
    longest: list[tuple[int, Chord]] = []
    least_mm = 0.0
    for at, widest in _slices(ends, steps_mm):
        if widest < least_mm - _EQUAL_MM:
            break
        chords = longest_chords(_slice(ends, inside, steps_mm, at), above_mm=least_mm)
        if chords and chords[0].length_mm > least_mm + _EQUAL_MM:
            longest, least_mm = [], chords[0].length_mm
        longest += [(at, chord) for chord in chords]
    pairs = [_crossed(_slice(ends, inside, steps_mm, at), chord, grid, at) for at, chord in longest[:_N_TIES]]
    return max(pairs, key=lambda pair: pair.perpendicular.length_mm, default=None)


def largest_diameter(
    mask: np.ndarray, affine: np.ndarray, *, within: np.ndarray | None = None, known: Diameter | None = None
) -> Diameter | None:
    """The longest diameter in any direction, accurate to about a voxel; None for an empty mask.

    Args:
        mask, affine, within: as in `axial_diameters`.
        known: a diameter, such as the axial one, returned unless one at least as long is found.
    """
    ends, inside, grid = _turned(mask, within, affine)
    field = Field(inside=inside, ends=ends, steps_mm=grid[:3, :3].T)
    chords = longest_chords(field, above_mm=known.length_mm if known else 0.0)
    return _diameter(chords[0], grid) if chords else known


def _profile(mask: np.ndarray, axis: int) -> np.ndarray:
    """Number of voxels of the mask in each layer along an axis."""
    return np.count_nonzero(mask, axis=tuple(other for other in range(3) if other != axis))


def _turned(
    mask: np.ndarray, within: np.ndarray | None, affine: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`mask`, and `mask` joined with `within`, turned to LPS and cropped, and the (4, 4) affine of the crop."""
    order, flips = axis_order(affine)
    ends = turn(mask, order, flips)
    inside = ends if within is None else turn(within, order, flips) | ends
    box = bounding_box(inside) or (slice(0, 0),) * 3
    grid = turned_affine(affine, mask.shape, order, flips)  # type: ignore[arg-type]
    grid[:3, 3] += grid[:3, :3] @ [part.start for part in box]
    return np.ascontiguousarray(ends[box]), np.ascontiguousarray(inside[box]), grid


def _slices(ends: np.ndarray, steps_mm: np.ndarray) -> Iterator[tuple[int, float]]:
    """Index of each axial slice with ends, and a limit in mm that none of its diameters exceeds; widest first."""
    widest = {}
    for at in np.flatnonzero(ends.any(axis=(0, 1))):
        field = Field(inside=ends[:, :, at], ends=ends[:, :, at], steps_mm=steps_mm)
        between = widest_mm(field, hull_voxels(np.argwhere(ends[:, :, at])))
        widest[int(at)] = between + float(np.linalg.norm(steps_mm, axis=1).sum()) / 2  # oblique steps are longer
    yield from sorted(widest.items(), key=lambda item: -item[1])


def _slice(ends: np.ndarray, inside: np.ndarray, steps_mm: np.ndarray, at: int) -> Field:
    """The field in which chords of one axial slice may run."""
    return Field(inside=inside[:, :, at], ends=ends[:, :, at], steps_mm=steps_mm)


def _crossed(field: Field, chord: Chord, grid: np.ndarray, at: int) -> AxialDiameters:
    """The diameters of a chord of a slice and of the longest chord perpendicular to it in the same lesion."""
    lesions = cc3d.connected_components(field.inside, connectivity=8)
    lesion = lesions == lesions[chord.start]
    direction = (np.subtract(chord.stop, chord.start) @ field.steps_mm) if chord.start != chord.stop else None
    if direction is None:
        direction = max(field.steps_mm, key=np.linalg.norm)
    same = Field(inside=lesion, ends=field.ends & lesion, steps_mm=field.steps_mm)
    across = longest_across(same, direction / np.linalg.norm(direction))
    assert across is not None  # the lesion contains the chord's own ends
    return AxialDiameters(longest=_diameter(chord, grid, at), perpendicular=_diameter(across, grid, at))


def _diameter(chord: Chord, grid: np.ndarray, *rest: int) -> Diameter:
    start, stop = (_world(grid, [*end, *rest]) for end in (chord.start, chord.stop))
    return Diameter(length_mm=chord.length_mm, start_mm=start, stop_mm=stop)


def _world(affine: np.ndarray, index: list) -> Point:
    x, y, z = affine[:3, :3] @ np.asarray(index, float) + affine[:3, 3]
    return float(x), float(y), float(z)
