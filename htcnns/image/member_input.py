"""One member's view of the brain that is prepared for all: its largest piece, resized and clipped; and the way back.

Members vote on the 1 mm grid of the prepared brain; the prediction for a resized brain is first brought back to it.
"""

from dataclasses import dataclass, replace

import numpy as np

from htcnns.errors import SettingsError
from htcnns.image.components import components
from htcnns.image.preprocess import Prepared, Undo, resampled, z_scored
from htcnns.volume import Box, Shape, bounding_box, size_text


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How a member's input differs from the one prepared for all; by default, not at all.

    Attributes:
        largest_piece: whether only the largest 26-connected piece of the brain is shown.
        resize: edges in voxels to which the brain's box is resized, each axis by its own factor; () keeps 1 mm.
        clip: quantiles of each sequence in the brain at which it is clipped before it is z-scored again; (0, 1) clips
            nothing.

    Raises:
        SettingsError: an edge below one voxel, or quantiles outside 0 to 1 or not ascending.
    """

    largest_piece: bool = False
    resize: Shape | tuple[()] = ()
    clip: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        if self.resize and min(self.resize) < 1:
            raise _impossible("resize", size_text(self.resize), "edges of at least 1 voxel")
        low, high = self.clip
        if not 0 <= low < high <= 1:
            raise _impossible("clip", f"{low} to {high}", "two quantiles from 0 to 1, the lower one first")


def shown_to_member(prepared: Prepared, how: Preprocessing) -> Prepared:
    """The member's input; its `undo` returns to the grid of `prepared.array`, by linear interpolation if resized."""
    if how == Preprocessing():
        return prepared
    brain = _largest_piece(prepared.brain) if how.largest_piece else prepared.brain
    box = _box(brain, how)
    signal = prepared.array[(slice(None), *box)]
    masks = (signal != 0) & brain[box]
    if how.resize:
        signal, masks = resampled(signal, masks, how.resize)
    brain = np.any(masks, axis=0)
    i, j, k = (slice(0, n) for n in brain.shape)
    shape = prepared.brain.shape
    return replace(
        prepared,
        array=z_scored(_clipped(signal, masks, how.clip), masks),
        brain=brain,
        undo=Undo(
            shape=shape,
            order=(0, 1, 2),
            flips=(False, False, False),
            turned_shape=shape,
            grid_shape=shape,
            box=box,
            inner=(i, j, k),
        ),
    )


def _largest_piece(brain: np.ndarray) -> np.ndarray:
    """The largest 26-connected component of a mask that is not empty."""
    pieces, n_voxels = components(brain)
    n_voxels[0] = 0
    return pieces == n_voxels.argmax()


def _box(brain: np.ndarray, how: Preprocessing) -> Box:
    """The part that the member sees: the brain's box if that is resized, else the whole array with its padding."""
    tight = bounding_box(brain) if how.resize else None
    i, j, k = tight or tuple(slice(0, n) for n in brain.shape)
    return i, j, k


def _clipped(signal: np.ndarray, masks: np.ndarray, quantiles: tuple[float, float]) -> np.ndarray:
    """(4, i, j, k) float32, each sequence clipped at these quantiles inside its own mask."""
    clipped = signal.copy()
    for array, mask in zip(clipped, masks, strict=True):
        if quantiles != (0.0, 1.0) and mask.any():
            np.clip(array, *np.quantile(array[mask], quantiles), out=array)
    return clipped


def _impossible(setting: str, found: str, expected: str) -> SettingsError:
    return SettingsError("impossible value", setting=setting, found=found, expected=expected, remedy="Correct it.")
