"""A page of cases, one per row: a slice through the tumour in each sequence, and the truth's outline on t1c.

Real and synthetic cases are shown below each other, so that one look shows what gives the synthetic ones away.
"""

from collections.abc import Sequence as Row
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from htcnns.labels import SEQUENCES, Sequence
from htcnns.reports.picture import COLOURS

TILE = 208  # voxels per side of a tile; a brain at 1 mm fits
SCALE = 1.4  # pixels of the page per voxel
_GAP, _HEADER = 4, 24
_PAPER, _FAINT = (0, 0, 0), (150, 156, 164)
_RANGE = (0.5, 99.7)  # percentiles of the brain that are shown as black and white


@dataclass(frozen=True)
class Shown:
    """One row of the page.

    Attributes:
        name: text above the row.
        sequences: (4, i, j, k) z-scores, 0 outside the brain; i, j, k to the left, posterior and superior.
        truth: (i, j, k) uint8 of Label values.
    """

    name: str
    sequences: np.ndarray
    truth: np.ndarray


def gallery(rows: Row[Shown], *, across: int = 2) -> np.ndarray:
    """The page as pixels.

    Args:
        rows: cases from top to bottom, usually a real one above a synthetic one.
        across: axis across which slices are cut: 2 for axial, 1 for coronal, 0 for sagittal slices.

    Returns:
        (height, width, 3) uint8.
    """
    tile, n_columns = round(TILE * SCALE), len(SEQUENCES) + 1
    page = Image.new("RGB", (n_columns * (tile + _GAP), len(rows) * (tile + _HEADER)), _PAPER)
    draw = ImageDraw.Draw(page)
    for number, row in enumerate(rows):
        top = number * (tile + _HEADER)
        draw.text((_GAP, top + _HEADER / 2), row.name, fill=_FAINT, font=ImageFont.load_default(14), anchor="lm")
        for column, pixels in enumerate(_tiles(row, across)):
            picture = Image.fromarray(pixels).resize((tile, tile), Image.Resampling.BICUBIC)
            page.paste(picture, (column * (tile + _GAP), top + _HEADER))
    return np.asarray(page)


def _tiles(row: Shown, across: int) -> list[np.ndarray]:
    """(TILE, TILE, 3) uint8 tiles: one per sequence, then t1c with the outlines."""
    areas = (row.truth > 0).sum(axis=tuple(axis for axis in range(3) if axis != across))
    at = int(areas.argmax()) if areas.any() else row.truth.shape[across] // 2
    tiles = []
    for sequence in row.sequences:
        inside = sequence[sequence != 0]
        low, high = np.percentile(inside, _RANGE) if inside.size else (0.0, 1.0)
        grey = np.clip((sequence - low) / max(high - low, 1e-6), 0, 1) * (sequence != 0)
        tiles.append(np.repeat(_slice(grey * 255, across, at).astype(np.uint8)[..., None], 3, axis=2))
    return [*tiles, _outlined(tiles[SEQUENCES.index(Sequence.T1C)], _slice(row.truth, across, at))]


def _slice(array: np.ndarray, across: int, at: int) -> np.ndarray:
    """(TILE, TILE) slice with the top of the head, or the forehead, up; padded or cropped around its centre."""
    layer = np.take(array, at, axis=across).T
    layer = layer if across == 2 else layer[::-1]
    tile = np.zeros((TILE, TILE), layer.dtype)
    starts = [(TILE - n) // 2 for n in layer.shape]
    target = tuple(
        slice(max(0, start), max(0, start) + min(n, TILE)) for start, n in zip(starts, layer.shape, strict=True)
    )
    source = tuple(
        slice(max(0, -start), max(0, -start) + min(n, TILE)) for start, n in zip(starts, layer.shape, strict=True)
    )
    tile[target] = layer[source]
    return tile


def _outlined(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The tile with every label's outline in its colour."""
    outlined = pixels.copy()
    for label, colour in COLOURS.items():
        mask = np.pad(labels == label, 1)
        within = mask[1:-1, 1:-1] & mask[2:, 1:-1] & mask[:-2, 1:-1] & mask[1:-1, 2:] & mask[1:-1, :-2]
        outlined[mask[1:-1, 1:-1] & ~within] = colour
    return outlined
