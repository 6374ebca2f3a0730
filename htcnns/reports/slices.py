"""Slices of a head as pictures show them: how they are cut, which greys they have, how they are enlarged.

Arrays are oriented as for the networks (I, J, K to the left, posterior, superior) and shown in the radiological
convention: the patient's left on the right; in sagittal slices, the nose on the left.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFont

FINER = 2  # factor by which slices are enlarged and then shrunk, which smooths their outlines


class Plane(NamedTuple):
    """One way to cut: across which axis, whether the second remaining axis points up, letters at left and right."""

    across: int
    upwards: bool
    left: str
    right: str


PLANES = (
    Plane(2, upwards=False, left="R", right="L"),  # axial
    Plane(1, upwards=True, left="R", right="L"),  # coronal
    Plane(0, upwards=True, left="A", right="P"),  # sagittal
)


def background(sequence: np.ndarray) -> float:
    """The intensity outside the head: that of the first corner voxel."""
    return float(sequence.flat[0])


def grey_range(sequence: np.ndarray) -> tuple[float, float]:
    """The intensities shown as black and white, chosen so that a few very bright vessels do not darken the rest."""
    inside = sequence[sequence != background(sequence)]
    if inside.size == 0:
        return 0.0, 1.0
    darkest, brightest = np.percentile(inside, (0.5, 99.7))
    return float(darkest), float(max(brightest, darkest + 1e-6))


def fullest_slice(label_map: np.ndarray, across: int) -> int:
    """The index along that axis where most voxels are labelled; the middle if none are."""
    areas = (label_map > 0).sum(axis=tuple(axis for axis in range(3) if axis != across))
    return int(areas.argmax()) if areas.any() else label_map.shape[across] // 2


def cut(array: np.ndarray, plane: Plane, at: int) -> np.ndarray:
    """The (rows, columns) slice as it is shown."""
    layer = array.take(at, axis=plane.across).T
    return layer[::-1] if plane.upwards else layer


def resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(height, width) float32, smoothly resized; `size` is (width, height)."""
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BICUBIC))


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font, which needs no font file on the machine."""
    return ImageFont.load_default(size)
