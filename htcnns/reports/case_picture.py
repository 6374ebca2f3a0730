"""The picture of a case's report: three slices through the largest lesion per sequence, regions outlined, with a scale.

Outlines only, so that the tissue inside can be judged; colours of Okabe and Ito, as in `picture`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from htcnns.image.lesion_shape import largest_lesion
from htcnns.labels import Label, Region, Sequence, region_mask
from htcnns.reports.picture import COLOURS
from htcnns.reports.plain_text import one_line
from htcnns.reports.slices import FINER, PLANES, Plane, background, cut, font, fullest_slice, grey_range, resized
from htcnns.volume import Box, bounding_box

# Drawn in this order: where two outlines run together, the wider one below still shows on both sides.
OUTLINES: Mapping[Region, tuple[tuple[int, int, int], int]] = MappingProxyType(
    {
        Region.RC: (COLOURS[Label.RC], 3),
        Region.WT: (COLOURS[Label.ED], 3),
        Region.TC: (COLOURS[Label.NCR], 5),
        Region.ET: (COLOURS[Label.ET], 3),
    }
)
NAMES: Mapping[Region, str] = MappingProxyType(
    {Region.WT: "whole tumour", Region.TC: "tumour core", Region.ET: "enhancing tumour", Region.RC: "resection cavity"}
)
PIXELS_PER_MM = 2.0
SCALE_MM = 50
_MARGIN, _GAP, _HEADER, _FOOTER = 18, 12, 40, 44
_LONGEST_TITLE = 90  # characters
_PAPER, _INK, _FAINT = (0, 0, 0), (232, 234, 237), (150, 156, 164)
_SPARSE = (slice(None, None, 2),) * 3  # every second voxel is enough to find the range of greys


@dataclass(frozen=True, kw_only=True)
class Caption:
    """The text around the slices.

    Attributes:
        title: name of the case.
        volumes_ml: volume of each region on the grid of the mask; none is above 0 for an empty mask.
        diameters_mm: longest axial diameter of the enhancing tumour and its perpendicular; None without any.
    """

    title: str
    volumes_ml: Mapping[Region, float]
    diameters_mm: tuple[float, float] | None


def case_picture(
    sequences: Mapping[Sequence, np.ndarray], label_map: np.ndarray, brain: np.ndarray, *, caption: Caption
) -> np.ndarray:
    """A title, one row of slices per sequence, and a legend.

    Args:
        sequences: rows from top to bottom: (I, J, K) float32 at 1 mm, axes to the left, posterior and superior.
        label_map: (I, J, K) uint8 of Label values; if it is empty, the middle of the brain is shown.
        brain: (I, J, K) bool; the slices are cropped to brain and tumour.
        caption: title, volumes and diameters.

    Returns:
        (height, width, 3) uint8.
    """
    head = _wider(bounding_box(brain), bounding_box(label_map > 0), label_map.shape)
    labels = label_map[head]
    lesion = largest_lesion(region_mask(labels, Region.WT))
    views = [_view(labels, plane, fullest_slice(lesion, plane.across)) for plane in PLANES]
    rows = {name: _row(array[head], views) for name, array in sequences.items()}
    row_height = max(row.height for row in rows.values())
    width = max(row.width for row in rows.values()) + 2 * _GAP
    page = Image.new("RGB", (width, _HEADER + len(rows) * (row_height + _GAP) + _FOOTER), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_GAP, _HEADER / 2), _title(caption.title), fill=_INK, font=font(18), anchor="lm")
    for n, (name, row) in enumerate(rows.items()):
        top = _HEADER + n * (row_height + _GAP)
        page.paste(row, (_GAP, top))
        draw.text((_GAP, top), name.value, fill=_INK, font=font(16))
    _draw_legend(draw, caption, page.height - _FOOTER / 2, width)
    return np.asarray(page)


def _wider(brain: Box | None, tumour: Box | None, shape: tuple[int, ...]) -> Box:
    """The box that holds both, two voxels wider on every side; the whole array if there is neither."""
    boxes = [box for box in (brain, tumour) if box]
    i, j, k = (
        (
            slice(max(0, min(part.start for part in parts) - 2), min(n, max(part.stop for part in parts) + 2))
            for parts, n in zip(zip(*boxes, strict=True), shape, strict=True)
        )
        if boxes
        else (slice(0, n) for n in shape)
    )
    return i, j, k


class _View(NamedTuple):
    """A slice to be shown: how and where it is cut, its size in pixels, and outlines with their colours."""

    plane: Plane
    at: int
    size: tuple[int, int]
    outlines: list[tuple[tuple[int, int, int], Image.Image]]


def _view(labels: np.ndarray, plane: Plane, at: int) -> _View:
    """The view of that slice; its outlines are drawn once for all sequences."""
    layer = cut(labels, plane, at)
    width, height = (max(1, round(n * PIXELS_PER_MM)) for n in layer.shape[::-1])
    masks = {region: region_mask(layer, region) for region in OUTLINES}
    outlines = [
        (colour, _outline(masks[region], (width, height), line))
        for region, (colour, line) in OUTLINES.items()
        if masks[region].any()
    ]
    return _View(plane, at, (width, height), outlines)


def _row(sequence: np.ndarray, views: list[_View]) -> Image.Image:
    """The slices of one sequence side by side, centred in height, with a scale in the first."""
    darkest, brightest = grey_range(sequence[_SPARSE])
    panels = []
    for view in views:
        layer = cut(sequence, view.plane, view.at)
        grey = np.clip((layer - darkest) / (brightest - darkest), 0, 1) * (layer != background(sequence))
        panels.append(_panel(grey, view))
    height = max(panel.height for panel in panels)
    row = Image.new("RGB", (sum(panel.width + _GAP for panel in panels) - _GAP, height), _PAPER)
    left = 0
    for panel in panels:
        row.paste(panel, (left, (height - panel.height) // 2))
        left += panel.width + _GAP
    _draw_scale(ImageDraw.Draw(row), height)
    return row


def _panel(grey: np.ndarray, view: _View) -> Image.Image:
    """One slice with its outlines and the two letters that say which side is which."""
    width, height = view.size
    levels = np.clip(resized(grey, (width, height)), 0, 1) * 255
    slice_ = Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    for colour, outline in view.outlines:
        slice_.paste(colour, (0, 0), outline)
    panel = Image.new("RGB", (width + 2 * _MARGIN, height), _PAPER)
    panel.paste(slice_, (_MARGIN, 0))
    draw = ImageDraw.Draw(panel)
    draw.text((2, height / 2), view.plane.left, fill=_INK, font=font(15), anchor="lm")
    draw.text((panel.width - 2, height / 2), view.plane.right, fill=_INK, font=font(15), anchor="rm")
    return panel


def _outline(mask: np.ndarray, size: tuple[int, int], line: int) -> Image.Image:
    """The mask's outline as an image of opacities; `line` is its width in pixels at FINER resolution."""
    finer = (size[0] * FINER, size[1] * FINER)
    box = _box(mask, finer)
    inside = Image.fromarray((resized(mask, finer) >= 0.5).astype(np.uint8) * 255).crop(box)
    widest, narrowest = inside.filter(ImageFilter.MaxFilter(line)), inside.filter(ImageFilter.MinFilter(line))
    ring = Image.new("L", finer)
    ring.paste(Image.fromarray(np.asarray(widest) ^ np.asarray(narrowest)), box[:2])
    return ring.resize(size, Image.Resampling.BOX)


def _box(mask: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the mask in an image of that size, with room for a line."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    down, across = size[1] / mask.shape[0], size[0] / mask.shape[1]
    left, right = int((columns[0] - 3) * across), int((columns[-1] + 4) * across)
    top, bottom = int((rows[0] - 3) * down), int((rows[-1] + 4) * down)
    return max(0, left), max(0, top), min(size[0], right), min(size[1], bottom)


def _draw_scale(draw: ImageDraw.ImageDraw, height: int) -> None:
    """Draw a bar of SCALE_MM at the lower left."""
    left, bottom, length = 2, height - 4, round(SCALE_MM * PIXELS_PER_MM)
    draw.line([(left, bottom), (left + length, bottom)], fill=_INK, width=3)
    for end in (left, left + length):
        draw.line([(end, bottom - 4), (end, bottom + 3)], fill=_INK, width=1)
    draw.text((left, bottom - 6), f"{SCALE_MM} mm", fill=_INK, font=font(13), anchor="ls")


def _draw_legend(draw: ImageDraw.ImageDraw, caption: Caption, middle: float, width: int) -> None:
    """Draw one line: what each colour means, its volume, and the diameters; in a smaller font if it would not fit."""
    entries = _entries(caption)
    size = next((size for size in (15, 13, 12, 11, 10) if _length(draw, entries, size) <= width - 2 * _GAP), 9)
    left = float(_GAP)
    for colour, text in entries:
        if colour:
            draw.line([(left, middle), (left + 18, middle)], fill=colour, width=4)
            left += 24
        draw.text((left, middle), text, fill=_INK if colour else _FAINT, font=font(size), anchor="lm")
        left += draw.textlength(text, font=font(size)) + 2 * _GAP


def _length(draw: ImageDraw.ImageDraw, entries: list, size: int) -> float:
    return sum(draw.textlength(text, font=font(size)) + 2 * _GAP + 24 * bool(colour) for colour, text in entries)


def _entries(caption: Caption) -> list[tuple[tuple[int, int, int] | None, str]]:
    """Colour and text of each entry of the legend."""
    if not any(caption.volumes_ml.values()):
        return [(None, "no tumour in this mask")]
    entries: list[tuple[tuple[int, int, int] | None, str]] = [
        (OUTLINES[region][0], f"{NAMES[region]} {caption.volumes_ml[region]:.1f} ml")
        for region in NAMES
        if region in caption.volumes_ml
    ]
    if caption.diameters_mm:
        longest, across = caption.diameters_mm
        entries.append((None, f"{longest:.0f} x {across:.0f} mm enhancing, axial"))
    return entries


def _title(name: str) -> str:
    line = one_line(name)
    return line if len(line) <= _LONGEST_TITLE else f"{line[: _LONGEST_TITLE - 3]}..."
