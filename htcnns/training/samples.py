"""Random patches of prepared cases, and how they are varied."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import uniform_filter
from scipy.spatial.transform import Rotation

from htcnns.image.resample import resample, resample_scan
from htcnns.labels import REGIONS, SEQUENCES, Label, Sequence, region_mask

GAMMA_SHARE = 0.3
NOISE_SHARE = 0.2
THICK_FACTORS = (2, 3, 4)  # slices that become one; BraTS was resampled from slices of up to 6 mm
KNOTS = np.array([-4.0, -1.0, -0.3, 0.3, 1.0, 2.5, 8.0])  # z-scores between which a bent contrast is a straight line
TURN = 15.0  # degrees, the most about each axis
ZOOM = 1.25  # the most, and its inverse the least
MARGIN = 0.2  # of the edge, on every side of a patch that is turned and zoomed, so that hardly a voxel of it is empty
SHADE = 0.15  # highest deviation of the logarithm of a coil's sensitivity
THIN_SEQUENCE_SHARE = 0.2  # of the sequences of a patch with thick slices stay as they are
T1N, T1C = SEQUENCES.index(Sequence.T1N), SEQUENCES.index(Sequence.T1C)


@dataclass(frozen=True)
class Variety:
    """How patches are drawn and varied, beyond what is always done.

    Attributes:
        tumour_share: of the patches that lie around a voxel of the tumour; the rest lie anywhere in the brain.
        quench_share: of the patches in which nothing takes up contrast agent.
        pose_share: of the patches that are turned and zoomed.
        thick_share: of the patches whose slices are made thick.
        contrast_share: of the patches that look as from another scanner.
        slopes: least and most that such a scanner's contrast stretches a part of the range.
    """

    tumour_share: float = 0.7
    quench_share: float = 0.2
    pose_share: float = 0.0
    thick_share: float = 0.0
    contrast_share: float = 0.0
    slopes: tuple[float, float] = (0.6, 1.5)


@dataclass(frozen=True)
class TrainingCase:
    """One prepared case with its truth.

    Attributes:
        name: of the case.
        array: (4, i, j, k) float16, z-scored, 0 outside the brain.
        label_map: (i, j, k) uint8 truth on the same grid.
    """

    name: str
    array: np.ndarray
    label_map: np.ndarray

    @cached_property
    def places(self) -> dict[int, np.ndarray]:
        """Flat indices of the voxels of each label that occurs; those of the brain under BACKGROUND."""
        places = {int(label): np.flatnonzero(self.label_map == label) for label in (Label.NCR, Label.ED, Label.ET)}
        places[Label.BACKGROUND] = np.flatnonzero(self.array.any(axis=0))
        return {label: indices for label, indices in places.items() if indices.size}


def draw(case: TrainingCase, edge: int, rng: np.random.Generator, *, variety: Variety) -> tuple[np.ndarray, np.ndarray]:
    """A random, varied patch.

    Args:
        case: where from.
        edge: of the cube in voxels; where the case is smaller, zeros are added.
        variety: where patches lie, and how often head, enhancement, slices or scanner are others.

    Returns:
        (4, edge, edge, edge) float32 intensities and (3, edge, edge, edge) float32 regions of 0 and 1.
    """
    corner = _corner(case, edge, rng, tumour_share=variety.tumour_share)
    posed = variety.pose_share > 0 and rng.random() < variety.pose_share
    margin = round(MARGIN * edge) if posed else 0
    array = _cut(case.array, corner - margin, edge + 2 * margin).astype(np.float32)
    label_map = _cut(case.label_map[None], corner - margin, edge + 2 * margin)[0]
    if posed:
        array, label_map = change_pose(array, label_map, edge, rng)
    if rng.random() < variety.quench_share:
        array, label_map = quench_enhancement(array, label_map)
    if variety.thick_share and rng.random() < variety.thick_share:
        array = thicken_slices(array, rng)
    if variety.contrast_share and rng.random() < variety.contrast_share:
        array = change_scanner(array, rng, slopes=variety.slopes)
    array = vary_intensities(array, rng)
    axes = tuple(1 + axis for axis in range(3) if rng.random() < 0.5)
    truth = np.stack([region_mask(label_map, region) for region in REGIONS]).astype(np.float32)
    return np.ascontiguousarray(np.flip(array, axes)), np.ascontiguousarray(np.flip(truth, axes))


def vary_intensities(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shift and scale each sequence by up to a tenth, sometimes bend its contrast or add noise; background stays 0.

    Shift and scale as in HT-CNNs and TransBTS; gamma and noise as in nnU-Net, milder.
    """
    brain = array != 0
    lead = (len(array), 1, 1, 1)
    scale, shift = rng.uniform(0.9, 1.1, lead), rng.uniform(-0.1, 0.1, lead)
    varied = array * scale.astype(np.float32) + shift.astype(np.float32)  # float64 would take thrice the time
    if rng.random() < GAMMA_SHARE:
        low, span = -3.0, 8.0  # z-scores of nearly all of a brain
        unit = np.clip((varied - low) / span, 0, 1)
        varied = unit ** rng.uniform(0.7, 1.4, lead).astype(np.float32) * span + low
    if rng.random() < NOISE_SHARE:
        varied += rng.normal(0, rng.uniform(0, 0.15), array.shape).astype(np.float32)
    return (varied * brain).astype(np.float32)


def quench_enhancement(array: np.ndarray, label_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same tumour as if nothing took up contrast agent: t1c becomes t1n inside it and ET becomes NCR.

    The change fades over five voxels, so that no edge betrays it. Teaches what a case without enhancing tumour looks
    like where training cases have none.
    """
    inside = uniform_filter((label_map > 0).astype(np.float32), size=5)
    fade = np.minimum(1, 2 * inside)
    quenched = array.copy()
    quenched[T1C] = fade * array[T1N] + (1 - fade) * array[T1C]
    return quenched, np.where(label_map == Label.ET, np.uint8(Label.NCR), label_map)


def change_pose(
    array: np.ndarray, label_map: np.ndarray, edge: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The middle of a patch as if the head lay turned by up to TURN about each axis and were larger or smaller.

    Args:
        array: (4, e, e, e) float32 intensities, e at least `edge`; 0 outside the brain of all sequences, which stays 0.
        label_map: (e, e, e) uint8 on the same grid; each new voxel takes the label of the nearest old one.
        edge: of the result.

    Returns:
        (4, edge, edge, edge) float32, linearly interpolated, and (edge, edge, edge) uint8. After nnU-Net's rotation and
        scaling.
    """
    turn = Rotation.from_euler("xyz", rng.uniform(-TURN, TURN, 3), degrees=True).as_matrix()
    zoom = ZOOM ** rng.uniform(-1, 1)
    matrix = torch.zeros(1, 3, 4)
    matrix[0, :, :3] = torch.from_numpy(turn / zoom * edge / array.shape[1])
    grid = F.affine_grid(matrix, [1, 1, edge, edge, edge], align_corners=False)
    masks = torch.from_numpy(np.stack([label_map, array.any(axis=0)]).astype(np.float32))
    labels, brain = F.grid_sample(masks[None], grid, mode="nearest", align_corners=False)[0]
    posed = F.grid_sample(torch.from_numpy(array)[None], grid, mode="bilinear", align_corners=False)[0] * brain
    return posed.numpy(), labels.numpy().astype(np.uint8)


def change_scanner(array: np.ndarray, rng: np.random.Generator, *, slopes: tuple[float, float]) -> np.ndarray:
    """(4, e, e, e) float32 as from a scanner of other contrast and coil, each sequence for itself; background stays 0.

    Contrast: a rising curve of straight lines of random slopes, so that grey and white matter move apart or together.
    Coil: a smooth factor. Stronger than nnU-Net's gamma, because a handful of cases shows a handful of scanners.
    """
    changed = np.empty_like(array)
    shades = resample(
        rng.normal(0, rng.uniform(0, SHADE, (4, 1, 1, 1)), (4, 3, 3, 3)).astype(np.float32), array.shape[1:]
    )
    for sequence, shade, out in zip(array, shades, changed, strict=True):
        heights = np.concatenate([[0.0], np.cumsum(np.diff(KNOTS) * rng.uniform(*slopes, len(KNOTS) - 1))])
        heights += rng.uniform(-0.25, 0.25) - np.interp(0, KNOTS, heights)
        bent = np.interp(sequence, KNOTS, heights - KNOTS[0]).astype(np.float32)
        out[...] = bent * np.exp(shade) + KNOTS[0]
    return changed * (array != 0)


def thicken_slices(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(4, e, e, e) as if scanned with slices two to four times as thick along a random axis; background stays 0.

    Slices are averaged and come back to the same grid as a case of thick slices does before the networks see it. Most
    sequences are changed, not always all, as in archives. After nnU-Net's simulation of low resolution.
    """
    axis, factor = int(rng.integers(3)), int(rng.choice(THICK_FACTORS))
    n = array.shape[1 + axis] // factor * factor
    thick = array.copy()
    for sequence in thick:
        if rng.random() >= THIN_SEQUENCE_SHARE:
            whole = np.moveaxis(sequence, axis, 0)[:n]  # a view: slices first, without an incomplete last group
            means = whole.reshape(n // factor, factor, *whole.shape[1:]).mean(axis=1)
            whole[:] = resample_scan(means, (n, *whole.shape[1:]))
    return thick * (array != 0)


def _corner(case: TrainingCase, edge: int, rng: np.random.Generator, *, tumour_share: float) -> np.ndarray:
    """Lowest corner of a patch around a random voxel, moved by up to a quarter of the edge and kept inside the case."""
    labels = [label for label in case.places if label != Label.BACKGROUND]
    wanted = rng.choice(labels) if labels and rng.random() < tumour_share else Label.BACKGROUND
    voxel = np.unravel_index(rng.choice(case.places[int(wanted)]), case.label_map.shape)
    corner = np.array(voxel) - edge // 2 + rng.integers(-edge // 4, edge // 4 + 1, 3)
    room = np.array(case.label_map.shape) - edge
    return np.where(room > 0, np.clip(corner, 0, np.maximum(room, 0)), room // 2)


def _cut(array: np.ndarray, corner: np.ndarray, edge: int) -> np.ndarray:
    """(C, edge, edge, edge) from that corner, zeros where it reaches beyond the array."""
    cube = np.zeros((len(array), edge, edge, edge), array.dtype)
    low, high = np.maximum(corner, 0), np.minimum(corner + edge, array.shape[1:])
    source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    target = tuple(slice(a - c, b - c) for a, b, c in zip(low, high, corner, strict=True))
    cube[(slice(None), *target)] = array[(slice(None), *source)]
    return cube
