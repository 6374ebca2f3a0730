"""A healthy head from a label map: placed in the frame of BraTS, bent, pushed aside by a tumour, and stripped."""

from dataclasses import dataclass

import cc3d
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from htcnns.training.synthesis.fields import random_field, sampled, softened, stretched
from htcnns.training.synthesis.tissues import INSIDE, Tissue, mask_of, tissues_of
from htcnns.volume import Shape, bounding_box

FRAME: Shape = (160, 200, 152)  # voxels of 1 mm: the part of BraTS's grid that brains fill; heads are made in it
FRAME_CORNER = (40, 24, 0)  # first voxel of the frame in BraTS's grid of 240 x 240 x 155 voxels
BRAIN_MM = np.array([137.0, 171.0, 138.0])  # edges of the cortex's box: 27 cases of BraTS have masks of 137 x 170 x 138
BRAIN_DEVIATION_MM = np.array([4.0, 7.0, 5.0])  # standard deviation between brains
BRAIN_CENTRE = np.array([79.5, 101.0, 73.0])  # in the frame
TURN_DEGREES = np.array([8.0, 3.5, 3.5])  # standard deviation about the left, posterior and superior axis
NODES: Shape = (41, 51, 39)  # grid, about 4 mm apart, on which a head's deformation is defined
THIN = 0.45  # share of fluid around a voxel below which its sulcus is thin
MARGIN = 14  # voxels kept around a brain, as imperfect stripping may leave some of them


@dataclass(frozen=True)
class Anatomy:
    """A head to be deformed.

    Attributes:
        tissues: (i, j, k) uint8 of Tissue, cut to the brain and MARGIN around it.
        low, high: corners of the brain's box in `tissues`.
    """

    tissues: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Pose:
    """How a head lies in the frame.

    Attributes:
        places: (3, *NODES) float32 position in the anatomy that each node shows.
    """

    places: np.ndarray

    def coordinates(self, push: np.ndarray | None = None) -> np.ndarray:
        """(3, *FRAME) float32 position in the anatomy that every voxel shows.

        Args:
            push: (3, *NODES) float32 offset in mm to the place in the frame whose content moves to each node; None
                moves nothing.
        """
        places = self.places
        if push is not None:
            steps = [(n - 1) / (m - 1) for n, m in zip(FRAME, NODES, strict=True)]
            grid = np.stack(np.meshgrid(*(np.arange(m, dtype=np.float32) for m in NODES), indexing="ij"))
            moved = grid + push / np.array(steps, np.float32)[:, None, None, None]
            moved = np.clip(moved, 0, np.array(NODES, np.float32)[:, None, None, None] - 1)
            places = sampled(places, moved)
        return stretched(places, FRAME)


def anatomy_of(label_map: np.ndarray) -> Anatomy:
    """The head in a label map of FreeSurfer's numbers, axes to the left, posterior and superior, voxels of 1 mm."""
    tissues = tissues_of(label_map)
    brain = mask_of(tissues, Tissue.WHITE, Tissue.CORTEX, Tissue.CEREBELLUM_GREY)
    box = bounding_box(_largest(brain))
    assert box is not None
    fluid = tissues == Tissue.FLUID
    tissues[fluid & (softened(fluid, 2.0) < THIN)] = Tissue.SULCUS
    low = np.array([edge.start for edge in box])
    starts = np.maximum(low - MARGIN, 0)
    cut = tuple(slice(start, edge.stop + MARGIN) for start, edge in zip(starts, box, strict=True))
    high = np.array([edge.stop for edge in box])
    return Anatomy(np.ascontiguousarray(tissues[cut]), low - starts, high - starts)


def draw_pose(rng: np.random.Generator, anatomy: Anatomy) -> Pose:
    """A random position, size, rotation and bending of the head; half of the heads are mirrored left to right."""
    size = (BRAIN_MM + BRAIN_DEVIATION_MM * rng.standard_normal(3)) * np.exp(rng.normal(0, 0.03))
    scale = (anatomy.high - anatomy.low) / size
    turn = Rotation.from_euler("xyz", TURN_DEGREES * rng.standard_normal(3), degrees=True).as_matrix()
    matrix = np.diag(scale) @ turn @ np.diag([rng.choice([-1.0, 1.0]), 1, 1])
    centre = BRAIN_CENTRE + np.array([1.5, 5, 4]) * rng.standard_normal(3)
    grid = np.stack(np.meshgrid(*(np.linspace(0, n - 1, m) for n, m in zip(FRAME, NODES, strict=True)), indexing="ij"))
    bend = rng.uniform(0.5, 2.5) * _field(rng, 40) + rng.uniform(0.2, 0.8) * _field(rng, 18)
    offsets = grid + bend - centre[:, None, None, None]
    places = np.einsum("ab,bijk->aijk", matrix, offsets) + ((anatomy.low + anatomy.high) / 2)[:, None, None, None]
    return Pose(places.astype(np.float32))


def push_of(rng: np.random.Generator, label_map: np.ndarray, core: np.ndarray) -> np.ndarray:
    """The displacement by a tumour for `Pose.coordinates`: at most 11 mm and 0.55 of the radius of its mass.

    Args:
        label_map: (*FRAME) label map of the tumour.
        core: (*FRAME) bool, the part with full mass; the rest of the tumour counts less.
    """
    weight = stretched(_pooled(core + 0.25 * (label_map > 0)), NODES)
    radius = np.cbrt(3 * (core.sum() + 0.1 * (label_map > 0).sum()) / (4 * np.pi))
    hill = ndimage.gaussian_filter(weight, max(1.0, radius / 8))  # in nodes of 4 mm
    slope = np.stack(np.gradient(hill))
    steepest = np.sqrt((slope**2).sum(axis=0)).max()
    strength = min(11.0, rng.uniform(0, 0.55) * radius)
    return (slope * (strength / max(steepest, 1e-6))).astype(np.float32)


def strip(rng: np.random.Generator, tissues: np.ndarray) -> np.ndarray:
    """(*FRAME) bool: the brain as a stripping tool leaves it, tight in one head and loose in another."""
    near = softened(mask_of(tissues, *INSIDE), rng.uniform(3.0, 5.0))  # wide enough to include sulci
    limit = rng.uniform(0.3, 0.55) + rng.uniform(0.01, 0.05) * random_field(rng, FRAME, 18)
    if rng.random() < 0.4:  # some of the skull stays here and there
        limit -= rng.uniform(0.1, 0.35) * np.maximum(random_field(rng, FRAME, 28) - 1.2, 0)
    limit = np.clip(limit, 0.1, 0.7)
    mask = _largest(near > limit)
    mask |= stretched(ndimage.gaussian_filter(_pooled(mask), 2.0), FRAME) > rng.uniform(0.53, 0.65)  # add wide fissures
    mask = ~_largest(~mask)  # fill holes
    if rng.random() < 0.3:  # the field of view ends below the vertex, or above the cerebellum's lowest part
        box = bounding_box(mask)
        assert box is not None
        mask[:, :, box[2].stop - int(rng.integers(0, 10)) :] = False
        mask[:, :, : box[2].start + int(rng.integers(0, 12))] = False
    return mask


def _field(rng: np.random.Generator, step_mm: float) -> np.ndarray:
    """(3, *NODES) smooth random vectors."""
    spacing = (FRAME[0] - 1) / (NODES[0] - 1)
    return np.stack([random_field(rng, NODES, step_mm / spacing) for _ in range(3)])


def _pooled(array: np.ndarray) -> np.ndarray:
    """Means over cubes of 4 x 4 x 4 voxels."""
    i, j, k = (n // 4 for n in array.shape)
    return array.reshape(i, 4, j, 4, k, 4).mean(axis=(1, 3, 5), dtype=np.float32)


def _largest(mask: np.ndarray) -> np.ndarray:
    pieces = cc3d.connected_components(mask, connectivity=6)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return pieces == sizes.argmax()
