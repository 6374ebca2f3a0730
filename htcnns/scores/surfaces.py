"""HD95 as the BraTS challenges compute it: DeepMind's surface elements, weighted by their area.

A surface element sits at every corner where eight voxels meet and not all of them agree. Which of the eight are set
is its neighbour code, 0 to 255; the marching-cubes triangles of that code have its area at any voxel size.
Source: https://github.com/google-deepmind/surface-distance; our construction equals its tables for all 256 codes.
"""

import math
from collections.abc import Mapping
from functools import lru_cache
from itertools import permutations, product
from types import MappingProxyType

import numpy as np

from htcnns.scores.distances import FRAME, Surface, quantile_distance_mm
from htcnns.scores.sparse import Voxels, framed
from htcnns.volume import Spacing, bounding_box

SHARE = 0.95


def hd95_mm(prediction: np.ndarray, truth: np.ndarray, spacing_mm: Spacing) -> float:
    """The 95th percentile Hausdorff distance between two masks, DeepMind's definition.

    Per direction: the smallest distance within which 95 % of the surface area reaches the other surface; then the
    larger of the two directions.

    Args:
        prediction, truth: (I, J, K) bool.
        spacing_mm: voxel size along I, J, K.

    Returns:
        Millimetres; 0 when both masks are empty, inf when one is.
    """
    box = bounding_box(prediction | truth)
    if box is None:
        return 0.0
    areas = surface_areas_mm2(spacing_mm)
    one, other = (surface_of(Voxels.of(framed(mask[box], FRAME)), areas) for mask in (prediction, truth))
    return surface_hd95_mm(one, other, spacing_mm)


def surface_hd95_mm(one: Surface, other: Surface, spacing_mm: Spacing) -> float:
    """HD95 of two surfaces on the same lattice; inf when either is empty."""
    return max(
        quantile_distance_mm(one, other, spacing_mm, share=SHARE),
        quantile_distance_mm(other, one, spacing_mm, share=SHARE),
    )


def surface_of(voxels: Voxels, areas_mm2: np.ndarray, *, multiplied: bool = False) -> Surface:
    """The surface elements of numbered lesions, no two of which may share a corner.

    Args:
        voxels: voxels with lesion numbers, in a frame of at least FRAME zeros.
        areas_mm2: (256,) from `surface_areas_mm2`.
        multiplied: whether to treat the numbers as DeepMind's code treats a label image passed as a mask: they
            multiply the neighbour codes and overflow at 256, so the inside of every lesion but the first is surface.
    """
    index, codes, labels = neighbour_codes(voxels)
    if multiplied:
        codes = (codes * labels).astype(np.uint8)
    mixed = (codes > 0) & (codes < 255)
    lattice = np.zeros(voxels.shape, np.uint32)
    lattice.reshape(-1)[index[mixed]] = labels[mixed]
    return Surface.on(lattice, index[mixed], areas_mm2[codes[mixed]])


def neighbour_codes(voxels: Voxels) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The corners of the voxels, each once, with their neighbour codes and the lesions they belong to.

    Returns:
        index: (N,) flat indices; (i, j, k) is the corner between the voxels i-1 and i, j-1 and j, k-1 and k.
        codes: (N,) uint8, 1 to 255. Voxel (i, j, k) counts 1, and each step back multiplies: 16 along I, 4 along J,
            2 along K.
        labels: (N,) uint32 lesion numbers.
    """
    _, n_j, n_k = voxels.shape
    corners = np.zeros(math.prod(voxels.shape), np.uint32)  # the code in the low byte, the lesion above it
    label = voxels.numbers.astype(np.uint32) << np.uint32(8)
    seen = []
    for i, j, k in product((0, 1), repeat=3):
        index = voxels.index + (i * n_j * n_k + j * n_k + k)
        before = corners[index]
        seen.append(index[before == 0])
        corners[index] = before | label | np.uint32(1 << (4 * i + 2 * j + k))
    index = np.concatenate(seen)
    return index, corners[index].astype(np.uint8), corners[index] >> np.uint32(8)


@lru_cache(maxsize=64)
def surface_areas_mm2(spacing_mm: Spacing) -> np.ndarray:
    """(256,) float64 surface area in mm2 of each neighbour code at this voxel size; 0 for the codes 0 and 255."""
    i, j, k = spacing_mm
    faces = np.array([j * k, i * k, i * j])
    areas = np.zeros(256)
    for code, normals in _normals_by_code().items():
        areas[code] = sum(float(np.linalg.norm(normal * faces)) for normal in normals)
    areas.setflags(write=False)  # the cache hands out the same array every time
    return areas


# The triangles that marching cubes draws for the thirteen essentially different ways to set up to four corners,
# each as the size of its normal along I, J, K in voxel faces. A rotated, mirrored or complemented cube has the same
# triangles, turned. The comments say what the set corners look like.
_CORNER, _SLANT = (1 / 8,) * 3, (1 / 4,) * 3
_CLASSES: Mapping[int, tuple[tuple[float, float, float], ...]] = MappingProxyType(
    {
        0b00000001: (_CORNER,),  # one corner cut off
        0b00000011: ((1 / 4, 1 / 4, 0),) * 2,  # an edge
        0b00000110: (_CORNER,) * 2,  # two corners across a face
        0b00011000: (_CORNER,) * 2,  # two corners across the cube
        0b00000111: (_CORNER, _SLANT, (1 / 2, 0, 0)),  # three corners of a face
        0b00011001: ((0, 1 / 4, 1 / 4), (0, 1 / 4, 1 / 4), _CORNER),  # an edge and a corner
        0b00010110: (_CORNER,) * 3,  # three corners that do not touch
        0b00001111: ((1 / 2, 0, 0),) * 2,  # a face
        0b00010111: (_CORNER, _CORNER, _SLANT, _SLANT),  # a corner and its three neighbours
        0b00011011: ((0, 1 / 4, 1 / 4), _CORNER, (1 / 4, 0, 1 / 4), (3 / 8,) * 3),  # a winding chain of three edges
        0b00011110: (_CORNER, _CORNER, _SLANT, (1 / 2, 0, 0)),  # three corners of a face and the one across
        0b00111100: ((1 / 4, 1 / 4, 0),) * 4,  # two edges across the cube
        0b01101001: (_CORNER,) * 4,  # four corners that do not touch
    }
)


@lru_cache(maxsize=1)
def _normals_by_code() -> Mapping[int, np.ndarray]:
    """The (n_triangles, 3) normals of the 254 codes, from the thirteen classes and the 48 symmetries of the cube."""
    bits = np.array([[[128, 64], [32, 16]], [[8, 4], [2, 1]]])
    table = {}
    for code, normals in _CLASSES.items():
        for order in permutations(range(3)):
            for flips in product((slice(None), slice(None, None, -1)), repeat=3):
                turned = int((bits * ((code & bits) > 0).transpose(order)[flips]).sum())
                table[turned] = table[255 - turned] = np.array(normals)[:, order]
    for array in table.values():
        array.setflags(write=False)
    return MappingProxyType(table)
