"""From four sequences to networks' input, and back: turn, resample to 1 mm, find the brain, z-score, crop, pad."""

import math
from dataclasses import dataclass

import cc3d
import numpy as np

from htcnns.errors import InputError, SettingsError
from htcnns.image.agreement import agreement_notes
from htcnns.image.notes import Kind, noted
from htcnns.image.outliers import without_outliers
from htcnns.image.plausibility import brain_notes, content_notes, shear_notes
from htcnns.image.resample import resample, resample_scan
from htcnns.image.sequence_looks import look_notes
from htcnns.labels import SEQUENCES
from htcnns.volume import (
    Box,
    Shape,
    Spacing,
    axis_order,
    bounding_box,
    box_shape,
    millimetre_shape,
    size_text,
    spacing_mm,
    turn,
    turn_back,
    turned_affine,
    uncrop,
    voxel_ml,
)

SPECK_FRACTION = 0.01  # pieces smaller than this fraction of the largest are specks, not brain
CONSTANT_BORDER = 0.05  # a constant background covers at least this share of the border; tight crops leave little of it
CONSTANT_LEAD = 5  # its value occurs there at least this many times as often as the next most frequent one
COARSEST = 1e-3  # largest float32 step at the background, relative to the brain's deviation, that loses nothing
FLAT = 1e-7  # a standard deviation below this fraction of the mean is rounding of float32


@dataclass(frozen=True)
class PreprocessSettings:
    """What a member expects as input.

    Attributes:
        window: smallest edges in voxels; smaller brains are padded with zeros.
        box: a fixed larger box to pad to (the paper's is 192x224x160); None pads to the window only.
            A brain larger than the box is never cropped.
    """

    window: Shape = (128, 128, 128)
    box: Shape | None = None

    def __post_init__(self) -> None:
        for setting, edges in (("window", self.window), ("box", self.box or self.window)):
            if min(edges) < 1:
                raise SettingsError(
                    "impossible size",
                    setting=setting,
                    found=size_text(edges),
                    expected="edges of at least 1 voxel",
                    remedy="Correct the manifest.",
                )

    @property
    def least(self) -> Shape:
        """The smallest shape of the networks' input."""
        box = self.box or self.window
        return max(self.window[0], box[0]), max(self.window[1], box[1]), max(self.window[2], box[2])


@dataclass(frozen=True, kw_only=True)
class Undo:
    """What is needed to bring an array on the networks' grid, or on one member's, back to the grid that it came from.

    Attributes:
        shape: shape of the case, (I, J, K).
        order, flips: how the case was turned to LPS.
        turned_shape: shape after turning.
        grid_shape: shape after resampling to 1 mm; equal to turned_shape if nothing was resampled.
        box: the brain's box in that grid.
        inner: the brain's box in the padded array; its shape differs if the box was resized.
    """

    shape: Shape
    order: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    turned_shape: Shape
    grid_shape: Shape
    box: Box
    inner: Box

    @property
    def resampled(self) -> bool:
        """Whether the case was resampled to the networks' grid."""
        return self.grid_shape != self.turned_shape

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """(C, i, j, k) on the networks' grid as (C, I, J, K) on the case's; zero outside the brain's box.

        Values are interpolated linearly if the case was resampled or resized (then float32), else returned unchanged.
        """
        inside = array[(..., *self.inner)]
        if inside.shape[-3:] != box_shape(self.box):
            inside = resample(inside.astype(np.float32), box_shape(self.box))
        whole = uncrop(inside, self.box, self.grid_shape)
        if self.resampled:
            whole = resample(whole.astype(np.float32), self.turned_shape)
        return np.ascontiguousarray(turn_back(whole, self.order, self.flips))

    def place(self, index: np.ndarray) -> np.ndarray:
        """(3,) index on the case's own grid of the point with this (3,) index on the networks' grid."""
        starts = [[edge.start for edge in box] for box in (self.inner, self.box)]
        resized = np.divide(box_shape(self.box), box_shape(self.inner))
        scale = np.divide(self.turned_shape, self.grid_shape)
        placed = (np.asarray(index, float) + 0.5 - starts[0]) * resized + starts[1]  # outer faces coincide
        turned = placed * scale - 0.5
        return (turned_affine(np.eye(4), self.shape, self.order, self.flips) @ [*turned, 1])[:3]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What the networks see.

    Attributes:
        array: (4, i, j, k) float32, z-scored inside the brain, zero outside.
        brain: (i, j, k) bool.
        undo: the way back.
        notes: one sentence for each thing that is not as in BraTS.
    """

    array: np.ndarray
    brain: np.ndarray
    undo: Undo
    notes: tuple[str, ...]


def preprocess(sequences: np.ndarray, affine: np.ndarray, settings: PreprocessSettings) -> Prepared:
    """The input of the networks, from the sequences of a case as they were read.

    Args:
        sequences: (4, I, J, K) float32 in the order of SEQUENCES, finite, none of them constant.
        affine: (4, 4) voxel to mm.
        settings: window and box.

    Raises:
        InputError: no brain stands out from the background, or a sequence holds values that no scanner writes.
    """
    order, flips = axis_order(affine)
    turned = turn(sequences, order, flips)
    spacing = spacing_mm(affine)
    spacing = spacing[order[0]], spacing[order[1]], spacing[order[2]]
    signal, masks, notes = _without_background(turned)
    notes += [*content_notes(turned, masks), *shear_notes(affine)]
    grid_shape = millimetre_shape(turned.shape[1:], spacing)
    if grid_shape != turned.shape[1:]:
        signal, masks = resampled(signal, masks, grid_shape)
        notes.append(_resampled_note(spacing))
    brain = _without_specks(np.any(masks, axis=0))
    box = bounding_box(brain)
    if box is None:
        raise InputError(
            "no brain found",
            found="no voxel that is brighter than the border of the scans",
            expected="a head with background around it",
            remedy="Give scans that are not cut inside the head.",
        )
    voxels_per_grid_voxel = math.prod(turned.shape[1:]) / math.prod(grid_shape)
    notes += brain_notes(brain[box], voxel_ml=voxel_ml(affine) * voxels_per_grid_voxel)
    notes += noted(agreement_notes(signal, masks), Kind.OTHER_HEAD)
    cropped = z_scored(signal[(..., *box)], masks[(..., *box)] & brain[box])
    notes += look_notes(cropped, brain[box])
    padded, inner = pad(cropped, settings.least)
    undo = Undo(
        shape=sequences.shape[1:],
        order=order,
        flips=flips,
        turned_shape=turned.shape[1:],
        grid_shape=grid_shape,
        box=box,
        inner=inner,
    )
    return Prepared(array=padded, brain=pad(brain[box][None], settings.least)[0][0], undo=undo, notes=tuple(notes))


def pad(array: np.ndarray, least: Shape) -> tuple[np.ndarray, Box]:
    """(C, i, j, k) padded with zeros on all sides to at least this shape, and the box that it then occupies."""
    missing = [max(0, want - have) for want, have in zip(least, array.shape[1:], strict=True)]
    padded = np.pad(array, [(0, 0), *((m // 2, m - m // 2) for m in missing)])
    i, j, k = (slice(m // 2, m // 2 + n) for m, n in zip(missing, array.shape[1:], strict=True))
    return padded, (i, j, k)


def _without_background(turned: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Signal with a background of zero, masks of the signal, and notes on unusual backgrounds and values."""
    signal = np.empty(turned.shape, np.float32)
    masks = np.empty(turned.shape, bool)
    notes = []
    for sequence, array, out, mask in zip(SEQUENCES, turned, signal, masks, strict=True):
        background, is_constant = _background(array)
        if is_constant:
            np.not_equal(array, background, out=mask)
        else:
            np.greater(array, background, out=mask)
            notes.append(f"{sequence}: no constant background; the head is assumed to lie above {background:.4g}")
        usual, said = without_outliers(array, mask, sequence)
        notes += said
        np.subtract(usual, background if is_constant and _is_fine(background, usual, mask) else 0, out=out)
        np.multiply(out, mask, out=out)
        if is_constant and background != 0:
            notes.append(f"{sequence}: the background is {background:.4g}, not 0")
        if array.min() < min(0, background):
            notes.append(f"{sequence}: holds negative values down to {array.min():.4g}")
    return signal, masks, notes


def _is_fine(background: float, array: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the background can be subtracted without loss, so that resampling meets no step at the brain's edge.

    It cannot if it only stands for "nothing", such as -1e10: float32 is so coarse there that the brain would vanish.
    """
    if background == 0:
        return True
    return bool(np.spacing(np.float32(abs(background))) <= COARSEST * array[mask].std(dtype=np.float64))


def _background(array: np.ndarray) -> tuple[float, bool]:
    """The value of a constant background and True, or if there is none, a limit above the border's noise and False."""
    faces = [array[0], array[-1], array[:, 0], array[:, -1], array[:, :, 0], array[:, :, -1]]
    border = np.concatenate([face.ravel() for face in faces])
    values, counts = np.unique(border, return_counts=True)
    most = counts.argmax()
    rest = np.delete(counts, most).max(initial=0)
    if counts[most] >= CONSTANT_BORDER * border.size and counts[most] >= CONSTANT_LEAD * rest:
        return float(values[most]), True
    median = np.median(border)
    deviation = 1.4826 * np.median(np.abs(border - median))
    return float(median + 5 * deviation), False


def resampled(signal: np.ndarray, masks: np.ndarray, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Signal and masks resampled to (4, *shape), one sequence at a time to save memory."""
    finer, inside = np.empty((len(signal), *shape), np.float32), np.empty((len(masks), *shape), bool)
    for number, (array, mask) in enumerate(zip(signal, masks, strict=True)):
        finer[number] = resample_scan(array, shape)
        inside[number] = resample(mask[None].astype(np.float32), shape)[0] >= 0.5
    return finer, inside


def _without_specks(mask: np.ndarray) -> np.ndarray:
    """The mask without 26-connected pieces that are tiny compared with the largest; a single piece is kept."""
    box = bounding_box(mask)
    if box is None:
        return mask
    pieces = cc3d.connected_components(mask[box], connectivity=26)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    kept = sizes >= SPECK_FRACTION * sizes.max()
    kept[0] = False
    return uncrop(kept[pieces], box, mask.shape)


def z_scored(signal: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(4, i, j, k) float32 with mean 0 and deviation 1 inside each sequence's own mask; 0 outside, and if uniform."""
    scored = np.zeros(signal.shape, np.float32)
    for array, mask, out in zip(signal, masks, scored, strict=True):
        values = array[mask]
        if values.size:
            mean, deviation = values.mean(dtype=np.float64), values.std(dtype=np.float64)
            if deviation > FLAT * abs(mean):
                out[mask] = (values - mean) / deviation
    return scored


def _resampled_note(spacing: Spacing) -> str:
    return f"voxels of {size_text(f'{mm:.4g}' for mm in spacing)} mm were resampled to 1 mm and the result back"
