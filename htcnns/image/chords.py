"""The longest straight lines inside a mask, of two or three axes: none of them leaves it on its way.

A chord runs from one voxel to another. It counts where the line of voxels between them, one per step along its longest
axis and each the nearest to the chord, lies inside. Its length is that of its steps, one for each voxel, so that it
reaches from outer face to outer face: a row of n voxels of 1 mm is n mm long, a single voxel is one voxel long, and a
length agrees with the volume, which counts whole voxels, too. Between centres each would be a voxel shorter, which for
slices of 5 mm is a lot, and a plate of one voxel would have no thickness at all.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, generate_binary_structure
from scipy.spatial import ConvexHull, QhullError

MOST_ENDS = 200  # voxels that are all tried as ends; of more, an evenly chosen part and the corners of their hull
_NEARBY = 3  # voxels around either end of the best of those chords, within which all ends are tried
_N_TIES = 16  # chords of one length that are kept; a sphere has many
_EQUAL_MM = 1e-6
_FEW = (0.5, 0.25, 0.75, 0.125, 0.375, 0.625, 0.875)  # places along a chord that rule most out at little cost


@dataclass(frozen=True)
class Chord:
    """A straight line of voxels.

    Attributes:
        start, stop: indices of its end voxels, one number per axis.
        length_mm: from outer face to outer face.
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]
    length_mm: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Field:
    """Where chords may run.

    Attributes:
        inside: bool of two or three axes: what a chord never leaves.
        ends: bool of the same shape, a part of it: what a chord begins and ends in.
        steps_mm: (n_axes, 3) the vector in world mm from one voxel to the next along each axis.
    """

    inside: np.ndarray
    ends: np.ndarray
    steps_mm: np.ndarray

    def rim(self) -> np.ndarray:
        """(n, n_axes) int64: voxels in which the longest chord can end: one beside each is none of the ends."""
        faces = generate_binary_structure(self.ends.ndim, 1)
        return np.argwhere(self.ends & ~binary_erosion(self.ends, faces))

    def lengths_mm(self, offsets: np.ndarray) -> np.ndarray:
        """Length of chords, from (n, n_axes) offsets between their ends; a single voxel is its longest edge long."""
        n_steps = np.maximum.reduce(np.abs(offsets.T))  # along the first axis, as that is faster
        vectors = offsets @ self.steps_mm
        between = np.sqrt(np.einsum("nx,nx->n", vectors, vectors))
        longest_edge = float(np.linalg.norm(self.steps_mm, axis=1).max())
        return np.where(n_steps > 0, between * (n_steps + 1) / np.maximum(n_steps, 1), longest_edge)

    def extent_mm(self, direction: np.ndarray) -> float:
        """How far a voxel reaches along a (3,) unit vector, through its centre and from face to face."""
        per_mm = np.linalg.lstsq(self.steps_mm.T, direction, rcond=None)[0]  # voxels along each axis in one mm
        return float(1 / np.abs(per_mm).max())

    def holds(self, starts: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """(n,) bool: whether the lines of voxels from (n, n_axes) starts over these offsets lie inside."""
        held = np.ones(len(starts), bool)
        for place in _FEW:
            left = np.flatnonzero(held)
            held[left] = self._is_inside(starts[left], offsets[left], np.array([[place]]))[:, 0]
        left = np.flatnonzero(held)
        n_steps = np.maximum.reduce(np.abs(offsets[left].T))
        for n in np.unique(n_steps):  # so that no chord is looked at in more places than it has voxels
            of_n = left[n_steps == n]
            places = np.arange(1, n)[None] / max(n, 1)
            held[of_n] = self._is_inside(starts[of_n], offsets[of_n], places).all(axis=1)
        return held

    def _is_inside(self, starts: np.ndarray, offsets: np.ndarray, places: np.ndarray) -> np.ndarray:
        """(n, n_places) bool; where a chord runs between two voxels, one of them is enough, so mirror images agree."""
        points = starts[:, None] + offsets[:, None] * places[..., None]  # (n, n_places, n_axes)
        up, down = (np.floor(points + 0.5 - 1e-9), np.ceil(points - 0.5 + 1e-9))
        return self._look_up(up) | self._look_up(down)

    def _look_up(self, points: np.ndarray) -> np.ndarray:
        strides = np.cumprod([1, *self.inside.shape[:0:-1]])[::-1]
        return self.inside.reshape(-1).take((points @ strides).astype(np.int64))


def longest_chords(field: Field, *, above_mm: float = 0.0) -> list[Chord]:
    """The longest chord of the field, with others of the same length; none where it is empty or none is as long.

    Exact where at most MOST_ENDS voxels can be ends, else to about a voxel.

    Args:
        above_mm: shorter ones are not looked for.
    """
    rim = field.rim()
    if len(rim) == 0:
        return []
    if len(rim) <= MOST_ENDS:
        return _longest(field, rim, rim, above_mm=above_mm)
    some = np.unique(np.concatenate([_few(hull_voxels(rim), 2 * MOST_ENDS), _few(rim, MOST_ENDS)]), axis=0)
    return _refined(field, rim, _longest(field, some, some, above_mm=above_mm))


def longest_across(field: Field, direction: np.ndarray) -> Chord | None:
    """The longest chord perpendicular to a direction; None where the field is empty.

    Its ends are two voxels that one perpendicular line meets: their centres lie at most half a voxel apart along the
    direction. The part of their distance that is perpendicular is measured, and a voxel's extent added as always.

    Args:
        direction: (3,) unit vector in world mm.
    """
    rim = _few(field.rim(), MOST_ENDS)
    starts, offsets = _pairs(rim, rim)
    vectors = offsets @ field.steps_mm
    along = vectors @ direction
    near = np.abs(along) <= field.extent_mm(direction) / 2 + _EQUAL_MM
    across = vectors[near] - along[near, None] * direction
    widths = np.linalg.norm(across, axis=1)
    order = np.argsort(-widths, kind="stable")
    starts, offsets = starts[near][order], offsets[near][order]
    chosen = _first_held(field, starts, offsets)
    if chosen is None:
        return None
    width = float(widths[order[chosen]])
    unit = across[order[chosen]] / width if width > _EQUAL_MM else _some_perpendicular(field, direction)
    return _chord(starts[chosen], offsets[chosen], width + field.extent_mm(unit))


def hull_voxels(points: np.ndarray) -> np.ndarray:
    """Those of (n, n_axes) voxels that are corners of their convex hull; all of them where they lie in a plane."""
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:  # too few, or flat
        return points


def widest_mm(field: Field, corners: np.ndarray) -> float:
    """The longest chord between (n, n_axes) voxels, whether it lies inside or not; 0 where there are none."""
    return float(field.lengths_mm(_pairs(corners, corners)[1]).max(initial=0.0))


def _few(voxels: np.ndarray, most: int) -> np.ndarray:
    """The voxels, or an evenly chosen part of them where there are more."""
    return voxels[np.linspace(0, len(voxels) - 1, min(most, len(voxels))).round().astype(int)]


def _refined(field: Field, rim: np.ndarray, best: list[Chord]) -> list[Chord]:
    """The chords again, with every end tried that lies near those of the first."""
    if not best:
        return []
    near = [rim[np.abs(rim - end).max(axis=1) <= _NEARBY] for end in (best[0].start, best[0].stop)]
    return _longest(field, near[0], near[1], above_mm=best[0].length_mm) or best


def _longest(field: Field, starts: np.ndarray, stops: np.ndarray, *, above_mm: float) -> list[Chord]:
    """The longest chords from one of these voxels to one of those."""
    begins, offsets = _pairs(starts, stops)
    lengths = field.lengths_mm(offsets)
    long = np.flatnonzero(lengths >= above_mm - _EQUAL_MM)
    long = long[np.argsort(-lengths[long], kind="stable")]
    first = _first_held(field, begins[long], offsets[long])
    if first is None:
        return []
    ties = long[first:][lengths[long[first:]] >= lengths[long[first]] - _EQUAL_MM]
    ties = ties[field.holds(begins[ties], offsets[ties])][:_N_TIES]
    return [_chord(begins[n], offsets[n], float(lengths[n])) for n in ties]


def _first_held(field: Field, starts: np.ndarray, offsets: np.ndarray) -> int | None:
    """Number of the first of the chords, longest first, that lies inside."""
    size, begin = 64, 0
    while begin < len(starts):
        held = np.flatnonzero(field.holds(starts[begin : begin + size], offsets[begin : begin + size]))
        if held.size:
            return begin + int(held[0])
        begin, size = begin + size, size * 4
    return None


def _pairs(starts: np.ndarray, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, n_axes) starts and offsets of every pair; each pair once where both lists are the same."""
    if starts is stops:
        first, second = np.triu_indices(len(starts))
    else:
        first, second = np.indices((len(starts), len(stops))).reshape(2, -1)
    return starts[first], stops[second] - starts[first]


def _some_perpendicular(field: Field, direction: np.ndarray) -> np.ndarray:
    """A (3,) unit vector in the plane of the first two axes, perpendicular to the direction."""
    rest = field.steps_mm - (field.steps_mm @ direction)[:, None] * direction
    longest = rest[np.linalg.norm(rest, axis=1).argmax()]
    return longest / np.linalg.norm(longest)


def _chord(start: np.ndarray, offset: np.ndarray, length_mm: float) -> Chord:
    return Chord(tuple(start.tolist()), tuple((start + offset).tolist()), length_mm)
