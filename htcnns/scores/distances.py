"""Distances from the points of one surface to another: shells of lattice offsets first, a KD-tree for the rest.

Most points of two similar surfaces coincide or lie a voxel or two apart, so looking at the lattice sites around each
point, nearest first, settles nearly all of them; only the few that lie far away are worth a tree. If many are far
away, as in a mask that is all specks, one distance transform of the whole lattice is quicker than either.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

from htcnns.volume import Spacing

_REACH = 4
FRAME = _REACH + 1
"""Zeros around every mask, so that its corners and the farthest offsets from them lie on the lattice."""

_NEAR = 1.5  # in shortest voxel sides; up to here only shells are searched: they settle most points of similar surfaces
_SITES_PER_POINT = 32  # lattice sites that a distance transform covers in the time that shells and tree need per point
_TIE = 1e-9  # as a share of the weight: this close to the wanted share, the order of summation could decide


@dataclass(frozen=True, eq=False, kw_only=True)
class Surface:
    """Points on a lattice, each with a weight and the label of the lesion it belongs to.

    Two surfaces can be compared if they were built on the same lattice.

    Attributes:
        lattice: (A, B, C) labels at the points, 0 elsewhere; at least four sites on every side are 0.
        index: (N,) positions of the points in the flattened lattice.
        weight: (N,) float64, area of each point in mm2, or 1 per voxel.
        wanted: (max label + 1,) bool, the labels that count; wanted[0] is False.
    """

    lattice: np.ndarray
    index: np.ndarray
    weight: np.ndarray
    wanted: np.ndarray

    @classmethod
    def on(cls, lattice: np.ndarray, index: np.ndarray, weight: np.ndarray) -> "Surface":
        """A surface on which all labels count."""
        wanted = np.arange(int(lattice.reshape(-1)[index].max(initial=0)) + 1) > 0
        return cls(lattice=lattice, index=index, weight=weight, wanted=wanted)

    def only(self, labels: np.ndarray) -> "Surface":
        """The part of the surface that belongs to these labels; the lattice is shared."""
        wanted = np.zeros_like(self.wanted)
        wanted[labels] = True
        by_label, starts = self._by_label
        keep = np.sort(np.concatenate([by_label[starts[label] : starts[label + 1]] for label in labels.tolist()]))
        return replace(self, index=self.index[keep], weight=self.weight[keep], wanted=wanted)

    @property
    def labels(self) -> np.ndarray:
        """(N,) the label of each point."""
        return self.lattice.reshape(-1)[self.index]

    @cached_property
    def _by_label(self) -> tuple[np.ndarray, np.ndarray]:
        """Points sorted by label, and where each label starts, so that no lesion needs a pass over all points."""
        labels = self.labels
        return np.argsort(labels, kind="stable"), np.searchsorted(np.sort(labels), np.arange(self.wanted.size + 1))


def quantile_distance_mm(start: Surface, target: Surface, spacing_mm: Spacing, *, share: float) -> float:
    """The smallest distance within which `share` of the weight of `start` has a point of `target`.

    inf when either surface is empty. Nothing is interpolated: the result is the distance of one of the points.
    """
    if start.index.size == 0 or target.index.size == 0:
        return float("inf")
    total = float(start.weight.sum())
    for reached, distance_mm in _shares(start, target, spacing_mm, total):
        if abs(reached - share) < _TIE:
            return _sorted_quantile(start.weight, distances_mm(start, target, spacing_mm), share)
        if reached > share:
            return distance_mm
    raise AssertionError("the last share is 1")


def distances_mm(start: Surface, target: Surface, spacing_mm: Spacing) -> np.ndarray:
    """(N,) float64 distance from every point of `start` to the nearest point of `target`; inf if `target` is empty."""
    distances = np.full(start.index.size, np.inf)
    if target.index.size == 0:
        return distances
    left = np.arange(start.index.size)
    for distance_mm, offsets in _shells(spacing_mm):
        hit = _hits(start.index[left], offsets, target)
        distances[left[hit]] = distance_mm
        left = left[~hit]
        if left.size == 0 or _is_transform_quicker(left, target, distance_mm / min(spacing_mm)):
            break
    distances[left] = _far_distances_mm(start.index[left], target, spacing_mm)
    return distances


def partner_distances_mm(
    start: Surface, target: Surface, partners: np.ndarray, spacing_mm: Spacing
) -> tuple[np.ndarray, np.ndarray]:
    """Distance from every point whose lesion has a partner to the nearest point of that partner.

    Args:
        partners: (max label + 1,) label in `target` that is the partner of each label of `start`; 0 for none.

    Returns:
        (N,) labels of the points with a partner, and their (N,) float64 distances.
    """
    labels = start.labels
    kept = np.flatnonzero(partners[labels])
    index, wanted = start.index[kept], partners[labels[kept]]
    distances = np.full(kept.size, np.inf)
    left = np.arange(kept.size)
    for distance_mm, offsets in _shells(spacing_mm):
        hit = (_around(index[left], offsets, target) == wanted[left, None]).any(axis=1)
        distances[left[hit]] = distance_mm
        left = left[~hit]
    for partner in np.unique(wanted[left]):
        far = left[wanted[left] == partner]
        distances[far] = _tree_distances_mm(index[far], target.only(np.array([partner])), spacing_mm)
    return labels[kept], distances


def share_within(start: Surface, target: Surface, spacing_mm: Spacing, *, tolerance_mm: float) -> float:
    """The share of the weight of `start` that lies within the tolerance of a point of `target`.

    NaN when `start` is empty, 0 when only `target` is.
    """
    if start.index.size == 0:
        return float("nan")
    if tolerance_mm > _REACH * min(spacing_mm):
        within = distances_mm(start, target, spacing_mm) <= tolerance_mm
    else:
        near = [offsets for distance_mm, offsets in _shells(spacing_mm) if distance_mm <= tolerance_mm]
        within = _hits(start.index, np.concatenate(near), target)
    return float(start.weight[within].sum() / start.weight.sum())


def _shares(start: Surface, target: Surface, spacing_mm: Spacing, total: float) -> Iterator[tuple[float, float]]:
    """Shares of the weight, each with the distance within which it lies, by distance; the last share is 1."""
    index, weight, reached = start.index, start.weight, 0.0
    for distance_mm, offsets in _shells(spacing_mm):
        hit = _hits(index, offsets, target)
        reached += float(weight[hit].sum())
        index, weight = index[~hit], weight[~hit]
        yield (reached / total if index.size else 1.0), distance_mm
        if index.size == 0:
            return
        if _is_transform_quicker(index, target, distance_mm / min(spacing_mm)):
            break
    distances = _far_distances_mm(index, target, spacing_mm)
    order = np.argsort(distances, kind="stable")
    shares = (reached + np.cumsum(weight[order])) / total
    last_of_equals = np.append(np.diff(distances[order]) > 0, True)
    shares[-1] = 1.0
    yield from zip(shares[last_of_equals].tolist(), distances[order][last_of_equals].tolist(), strict=True)


def _sorted_quantile(weight: np.ndarray, distances: np.ndarray, share: float) -> float:
    """The quantile, summed in the order of DeepMind's code, for cases that only rounding decides."""
    order = np.lexsort((weight, distances))
    reached = np.cumsum(weight[order]) / np.sum(weight[order])
    return float(distances[order][min(int(np.searchsorted(reached, share)), weight.size - 1)])


def _hits(index: np.ndarray, offsets: np.ndarray, target: Surface) -> np.ndarray:
    """(N,) bool: whether a wanted point of the target lies at any of the (M, 3) offsets from a site."""
    return target.wanted[_around(index, offsets, target)].any(axis=1)


def _around(index: np.ndarray, offsets: np.ndarray, target: Surface) -> np.ndarray:
    """(N, M) labels of the target at each of the (M, 3) offsets from each site."""
    _, b, c = target.lattice.shape
    steps = offsets @ np.array([b * c, c, 1])
    return target.lattice.reshape(-1)[index[:, None] + steps]


def _is_transform_quicker(index: np.ndarray, target: Surface, looked_at: float) -> bool:
    """Whether so many points are left that one distance transform of the target is quicker than searching around each.

    Args:
        looked_at: radius already searched around each point, in shortest voxel sides.
    """
    return looked_at >= _NEAR and index.size * _SITES_PER_POINT > target.lattice.size


def _far_distances_mm(index: np.ndarray, target: Surface, spacing_mm: Spacing) -> np.ndarray:
    """(N,) float64 distances from these sites, by transform or tree, whichever suits N; N may be 0."""
    if index.size == 0:
        return np.zeros(0)
    if not _is_transform_quicker(index, target, _REACH):
        return _tree_distances_mm(index, target, spacing_mm)
    nothing = ~target.wanted[target.lattice]
    nearest = distance_transform_edt(nothing, sampling=spacing_mm, return_distances=False, return_indices=True)
    sites = np.unravel_index(index, target.lattice.shape)
    steps = [site - axis.reshape(-1)[index] for site, axis in zip(sites, nearest, strict=True)]
    return _lengths_mm(np.stack(steps, axis=1), spacing_mm)


def _tree_distances_mm(index: np.ndarray, target: Surface, spacing_mm: Spacing) -> np.ndarray:
    """(N,) float64 distances by a KD-tree of the target, computed from the integer steps to the nearest point."""
    shape = target.lattice.shape
    sites = np.stack(np.unravel_index(target.index, shape), axis=1)
    queries = np.stack(np.unravel_index(index, shape), axis=1)
    tree = KDTree(sites * np.asarray(spacing_mm), balanced_tree=False, compact_nodes=False)
    _, nearest = tree.query(queries * np.asarray(spacing_mm))
    return _lengths_mm(queries - sites[nearest], spacing_mm)


def _lengths_mm(steps: np.ndarray, spacing_mm: Spacing) -> np.ndarray:
    """(N,) lengths of (N, 3) integer steps, summed axis by axis as scipy's distance transform does."""
    i, j, k = (steps * np.asarray(spacing_mm)).T
    return np.sqrt(i * i + j * j + k * k)


@lru_cache(maxsize=64)
def _shells(spacing_mm: Spacing) -> tuple[tuple[float, np.ndarray], ...]:
    """Offsets no longer than _REACH shortest voxel sides, grouped by length, shortest first."""
    reach = np.arange(-_REACH, _REACH + 1)
    offsets = np.stack(np.meshgrid(reach, reach, reach, indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = _lengths_mm(offsets, spacing_mm)
    keys = np.round(lengths / min(spacing_mm), 9)
    shells = []
    for key in np.unique(keys[keys <= _REACH]).tolist():
        shell = offsets[keys == key]
        shell.setflags(write=False)  # the cache hands out the same array every time
        shells.append((float(lengths[keys == key][0]), shell))
    return tuple(shells)
