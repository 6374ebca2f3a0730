"""Key points on the boundaries of a tumour's regions: the random draw of points whose convex hull fits best.

Boundary shape correction (BSC) trains a network to mark the voxels around them (Zhu 2024, doi
10.1016/j.patcog.2024.110553). As in the paper, there are 100 draws, and balls of radius 2 around the points of WT and
1 for TC and ET; its published code has 50 draws and radius 1 throughout. The numbers of points are those of the code.
The boundary consists of voxels with a face neighbour outside the mask, not of the edges of Canny's filter in slices.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy.ndimage import binary_erosion, generate_binary_structure
from scipy.spatial import ConvexHull, QhullError

from htcnns.labels import Region
from htcnns.volume import bounding_box

N_DRAWS = 100
_EXACT = 1e-9  # voxels; tolerance, so that a hull contains its own corners


@dataclass(frozen=True)
class Keys:
    """The key points of a region.

    Attributes:
        n_points: largest number of points.
        radius: radius of the ball around each point, in voxels.
    """

    n_points: int
    radius: int


KEYS: Mapping[Region, Keys] = MappingProxyType(
    {Region.WT: Keys(300, 2), Region.TC: Keys(200, 1), Region.ET: Keys(100, 1)}
)
BITS: Mapping[Region, int] = MappingProxyType({region: 1 << place for place, region in enumerate(KEYS)})


def boundary(mask: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """(I, J, K) bool: the voxels of a mask that have a face neighbour outside it.

    Args:
        mask: (I, J, K) bool.
        known: (I, J, K) bool, where the mask is known; neighbours where it is unknown, or beyond the array, make no
            boundary. None if it is known everywhere; beyond the array then counts as outside.
    """
    faces = generate_binary_structure(3, 1)
    if known is None:
        return mask & ~binary_erosion(mask, faces)
    return mask & ~binary_erosion(mask | ~known, faces, border_value=1)


def key_points(
    mask: np.ndarray,
    n_points: int,
    rng: np.random.Generator,
    *,
    known: np.ndarray | None = None,
    n_draws: int = N_DRAWS,
) -> np.ndarray:
    """(n, 3) int16 voxels on the boundary of a mask: the random draw whose convex hull overlaps the mask best.

    Args:
        mask: (I, J, K) bool.
        n_points: number of points; a boundary of no more voxels is returned whole, so an empty mask has none.
        known: as in `boundary`.
        n_draws: number of draws, compared by intersection over union.
    """
    places = np.argwhere(boundary(mask, known)).astype(np.int16)
    if len(places) <= n_points:
        return places
    box = bounding_box(mask)
    assert box is not None
    corner = [edge.start for edge in box]
    draws = [places[np.sort(rng.choice(len(places), n_points, replace=False))] for _ in range(n_draws)]
    return max(draws, key=lambda points: hull_overlap(points - corner, mask[box]))


def hull_overlap(points: np.ndarray, mask: np.ndarray) -> float:
    """Intersection over union of a mask and the voxels in the convex hull of points; 0 if they span no volume.

    Args:
        points: (n, 3) voxels of the mask's grid.
        mask: (I, J, K) bool, not empty.
    """
    try:
        planes = ConvexHull(points).equations  # inside, a i + b j + c k + d is at most 0
    except QhullError:
        return 0.0
    low, high = _spans(planes, mask.shape)
    n_before = np.concatenate([np.zeros((*mask.shape[:2], 1), int), mask.cumsum(axis=2)], axis=2)  # (I, J, K + 1)
    column = np.indices(mask.shape[:2])
    n_shared = int((n_before[(*column, high)] - n_before[(*column, low)]).sum())
    n_hull = int((high - low).sum())
    return n_shared / (n_hull + int(n_before[..., -1].sum()) - n_shared)


def key_map(points: Mapping[Region, np.ndarray], corner: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(*edges) uint8: the voxels of a box that lie in balls around key points, one bit per region as in BITS.

    Args:
        points: key points, (n, 3) voxels, of each region that has any.
        corner, edges: (3,) lowest voxel of the box, and its size.
    """
    marked = np.zeros(edges, np.uint8)
    for region, places in points.items():
        voxels = (places[:, None] + _ball(KEYS[region].radius) - corner).reshape(-1, 3)
        i, j, k = voxels[((voxels >= 0) & (voxels < edges)).all(axis=1)].T
        marked[i, j, k] |= np.uint8(BITS[region])
    return marked


def _spans(planes: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(I, J) first voxel along K inside all planes, and the one after the last; equal where there is none."""
    i, j = np.indices(shape[:2], sparse=True)
    a, b, c, d = planes.T[:, :, None, None]
    heights = a * i + b * j + d  # (n_planes, I, J)
    up, down = c[:, 0, 0] > _EXACT, c[:, 0, 0] < -_EXACT
    is_in = (heights[~up & ~down] <= _EXACT).all(axis=0)
    high = np.floor((-heights[up] / c[up]).min(axis=0) + _EXACT) + 1
    low = np.ceil((-heights[down] / c[down]).max(axis=0) - _EXACT)
    low, high = (np.clip(edge, 0, shape[2]).astype(int) for edge in (low, high))
    return low, np.where(is_in, np.maximum(low, high), low)


def _ball(radius: int) -> np.ndarray:
    """(n, 3) offsets of the voxels within `radius` of the centre."""
    offsets = np.argwhere(np.ones((2 * radius + 1,) * 3)) - radius
    return offsets[(offsets**2).sum(axis=1) <= radius**2]
