"""The same head in another pose: rotated, zoomed and deformed elastically, in one resampling."""

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation
from torch import Tensor

from htcnns.training.augment import Augmentation
from htcnns.training.stretch import stretched
from htcnns.volume import Shape

LARGEST_MARGIN = 0.2  # fraction of the edge, on every side of a rotated and zoomed patch; hardly a voxel stays empty
KNOT_DISTANCE = 24  # voxels between the random displacements of an elastic deformation
LARGEST_BEND = 4.0  # voxels, largest standard deviation of the displacements; nothing folds below KNOT_DISTANCE / 5


def wanted_margin(shape: Shape, variety: Augmentation, rng: np.random.Generator) -> tuple[np.ndarray, Tensor | None]:
    """The extra margin that a patch needs on every side, and the grid on which its voxels are sampled.

    Returns:
        (3,) int margin, and the sampling grid for `change_pose`; zeros and None if the pose is unchanged.
    """
    is_posed = rng.random() < variety.pose_share
    is_bent = rng.random() < variety.elastic_share
    if not (is_posed or is_bent):
        return np.zeros(3, int), None
    edges = np.array(shape)
    matrix = _turn_and_zoom(variety, rng) if is_posed else np.eye(3)
    bend = _bend(shape, rng) if is_bent else None
    margin = _margin(edges, matrix, bend)
    return margin, _grid(edges, edges + 2 * margin, matrix, bend)


def change_pose(array: np.ndarray, masks: np.ndarray, grid: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Intensities and masks sampled at the positions of a grid.

    Args:
        array: (C, i, j, k) float32 intensities; where all sequences are 0, outside the brain, the result is 0 too.
        masks: (2, i, j, k) uint8 label maps, sampled at the nearest voxel.
        grid: sampling grid from `wanted_margin`.

    Returns:
        (C, *shape) float32, linearly interpolated, and (2, *shape) uint8.
    """
    first, second = masks
    brain = array.any(axis=0)
    joined = (first + np.float32(2**8) * second + np.float32(2**16) * brain)[None, None]  # one channel to sample, exact
    nearest = F.grid_sample(torch.from_numpy(joined), grid, mode="nearest", align_corners=False)[0, 0].int()
    posed = F.grid_sample(torch.from_numpy(array)[None], grid, mode="bilinear", align_corners=False)[0]
    posed *= nearest >= 2**16
    moved = torch.stack([nearest & 255, (nearest >> 8) & 255]).to(torch.uint8)
    return posed.numpy(), moved.numpy()


def _margin(edges: np.ndarray, matrix: np.ndarray, bend: Tensor | None) -> np.ndarray:
    """(3,) int: how far the new patch reaches beyond the old one along I, J, K, up to LARGEST_MARGIN."""
    reach = np.abs(matrix) @ (edges / 2)
    if bend is not None:
        reach = reach + bend.abs().amax((0, 1, 2)).numpy()
    return np.clip(np.ceil(reach - edges / 2), 0, np.rint(LARGEST_MARGIN * edges)).astype(int)


def _turn_and_zoom(variety: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """(3, 3) matrix from a new voxel's offset from the centre, in voxels, to the old voxel's. After nnU-Net."""
    degrees = rng.uniform(-variety.largest_turn, variety.largest_turn, 3)
    zoom = variety.largest_zoom ** rng.uniform(-1, 1)
    return Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() / zoom


def _bend(shape: Shape, rng: np.random.Generator) -> Tensor:
    """(*shape, 3) smooth random displacements in voxels, along I, J, K."""
    knots = [max(3, round(edge / KNOT_DISTANCE) + 1) for edge in shape]
    strength = rng.uniform(0, LARGEST_BEND)
    coarse = rng.normal(0, strength, (3, *knots)).astype(np.float32)
    return torch.from_numpy(stretched(coarse, shape)).movedim(0, -1)


def _grid(edges: np.ndarray, wide: np.ndarray, matrix: np.ndarray, bend: Tensor | None) -> Tensor:
    """(1, *edges, 3) position of each new voxel in an array of shape `wide`, in `grid_sample`'s order (K, J, I)."""
    to_unit = 2 / wide
    affine = np.zeros((1, 3, 4))
    affine[0, :, :3] = (to_unit[:, None] * matrix * (edges / 2))[::-1, ::-1]  # from normalised coordinates of the patch
    grid = F.affine_grid(torch.from_numpy(affine).float(), [1, 1, *edges.tolist()], align_corners=False)
    if bend is not None:
        grid = grid + (bend * torch.from_numpy(to_unit).float()).flip(-1)[None]
    return grid
