"""A picture of a mask over its scan: three slices through the tumour per sequence, with a legend of volumes."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from PIL.PngImagePlugin import PngInfo

from htcnns.labels import Label, Sequence
from htcnns.reports.slices import (
    FINER,
    PLANES,
    Plane,
    background,
    cut,
    font,
    fullest_slice,
    grey_range,
    resized,
)
from htcnns.volume import Spacing, bounding_box

_Colour = tuple[int, int, int]

# Okabe and Ito's palette, distinguishable with every common colour blindness (jfly.uni-koeln.de/color)
COLOURS: Mapping[Label, _Colour] = MappingProxyType(
    {
        Label.ED: (86, 180, 233),
        Label.ET: (230, 159, 0),
        Label.NCR: (204, 121, 167),
        Label.RC: (0, 158, 115),
        Label.CC: (240, 228, 66),
    }
)
NAMES: Mapping[Label, str] = MappingProxyType(
    {
        Label.ED: "oedema",
        Label.ET: "enhancing tumour",
        Label.NCR: "necrotic or non-enhancing core",
        Label.RC: "resection cavity",
        Label.CC: "cyst",
    }
)

MARK = "htcnns"  # written into a picture as its software, so that a user's own can be told apart
PIXELS_PER_MM = 2.4
_FILL, _LINE = 0.22, 0.95  # opacity inside an outline, and of the outline
_MARGIN, _GAP, _HEADER, _FOOTER = 16, 18, 52, 58
_PAPER, _INK, _FAINT = (0, 0, 0), (232, 234, 237), (140, 146, 154)


@dataclass(frozen=True)
class Legend:
    """The volumes that the legend shows: those of the report, whatever grid the picture is drawn from.

    Attributes:
        labels_ml: volume of each label that the members can output, absent ones included.
        whole_tumour_ml: volume of the whole tumour, which has no colour of its own.
    """

    labels_ml: Mapping[Label, float]
    whole_tumour_ml: float


def picture(
    sequences: Mapping[Sequence, np.ndarray],
    label_map: np.ndarray,
    spacing_mm: Spacing,
    *,
    legend: Legend,
    title: str = "",
) -> np.ndarray:
    """A title, one row of slices per sequence, and a legend with volumes.

    Args:
        sequences: rows from top to bottom, usually t1c and t2f: (I, J, K) float32, cropped here to the head.
        label_map: (I, J, K) uint8 of Label values; may be empty.
        spacing_mm: voxel size along I, J, K.
        legend: volumes to show.
        title: name of the case.

    Returns:
        (height, width, 3) uint8.
    """
    shown = np.any([array != background(array) for array in sequences.values()], axis=0) | (label_map > 0)
    head = bounding_box(shown) or (slice(None), slice(None), slice(None))
    rows = {
        name: Image.fromarray(overlay(array[head], label_map[head], spacing_mm)) for name, array in sequences.items()
    }
    strip = _strip(legend)
    width = max(strip.width, *(row.width for row in rows.values())) + 2 * _GAP
    page = Image.new("RGB", (width, _HEADER + sum(row.height + _GAP for row in rows.values()) + _FOOTER), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_GAP, _HEADER / 2), title, fill=_INK, font=font(20), anchor="lm")
    top = _HEADER
    for name, row in rows.items():
        page.paste(row, ((width - row.width) // 2, top))
        draw.text((_GAP, top), name.value, fill=_INK, font=font(17))
        top += row.height + _GAP
    page.paste(strip, ((width - strip.width) // 2, top))
    return np.asarray(page)


def png_bytes(pixels: np.ndarray) -> bytes:
    """The content of a PNG file of (height, width, 3) uint8 pixels, marked as ours."""
    content, info = io.BytesIO(), PngInfo()
    info.add_text("Software", MARK)
    Image.fromarray(pixels).save(content, format="PNG", pnginfo=info)
    return content.getvalue()


def overlay(sequence: np.ndarray, label_map: np.ndarray, spacing_mm: Spacing) -> np.ndarray:
    """The axial, coronal and sagittal slices with the most tumour, side by side, labels tinted and outlined.

    Args:
        sequence: (I, J, K) float32; voxels equal to the first one are background and drawn black.
        label_map: (I, J, K) uint8 of Label values; if it is empty, the middle slices are shown.
        spacing_mm: voxel size along I, J, K; the picture keeps the proportions of the head.

    Returns:
        (height, width, 3) uint8.
    """
    darkest, brightest = grey_range(sequence)
    panels = []
    for plane in PLANES:
        at = fullest_slice(label_map, plane.across)
        layer, labels = (cut(array, plane, at) for array in (sequence, label_map))
        grey = np.clip((layer - darkest) / (brightest - darkest), 0, 1) * (layer != background(sequence))
        panels.append(_panel(grey, labels, plane, spacing_mm))
    return np.asarray(_side_by_side(panels))


def _panel(grey: np.ndarray, labels: np.ndarray, plane: Plane, spacing_mm: Spacing) -> Image.Image:
    """One slice with its labels and the two letters that say which side is which."""
    across_mm, down_mm = (mm for axis, mm in enumerate(spacing_mm) if axis != plane.across)
    rows, columns = grey.shape
    width, height = (max(round(n), 1) for n in (columns * across_mm * PIXELS_PER_MM, rows * down_mm * PIXELS_PER_MM))
    size = (width * FINER, height * FINER)
    pixels = np.repeat(np.clip(resized(grey, size), 0, 1)[..., None] * 255, 3, axis=2)  # (rows, columns, 3)
    tinted = Image.fromarray(_tinted(pixels, _resized_labels(labels, size)).astype(np.uint8))
    panel = Image.new("RGB", (width + 2 * _MARGIN, height), _PAPER)
    panel.paste(tinted.resize((width, height), Image.Resampling.BOX), (_MARGIN, 0))
    draw = ImageDraw.Draw(panel)
    draw.text((0, height / 2), plane.left, fill=_FAINT, font=font(14), anchor="lm")
    draw.text((panel.width, height / 2), plane.right, fill=_FAINT, font=font(14), anchor="rm")
    return panel


def _tinted(pixels: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(rows, columns, 3) pixels with each label tinted in its colour and outlined just inside its border."""
    colours = np.zeros((256, 3))
    colours[list(COLOURS)] = list(COLOURS.values())
    opacity = np.where(_outlines(labels), _LINE, _FILL) * (labels > 0)
    return pixels + opacity[..., None] * (colours[labels] - pixels)


def _outlines(labels: np.ndarray) -> np.ndarray:
    """(rows, columns) bool: pixels within two pixels of another label."""
    image = Image.fromarray(labels)
    highest, lowest = (np.asarray(image.filter(near(5))) for near in (ImageFilter.MaxFilter, ImageFilter.MinFilter))
    return highest != lowest


def _resized_labels(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(height, width) uint8: at each pixel the label whose smoothly resized mask is strongest."""
    present = np.union1d(labels, [Label.BACKGROUND])
    strengths = [resized(labels == label, size) for label in present]
    return present[np.argmax(strengths, axis=0)].astype(np.uint8)


def _side_by_side(panels: list[Image.Image]) -> Image.Image:
    """The panels in a row, centred in height."""
    height = max(panel.height for panel in panels)
    row = Image.new("RGB", (sum(panel.width for panel in panels) + _GAP * (len(panels) - 1), height), _PAPER)
    left = 0
    for panel in panels:
        row.paste(panel, (left, (height - panel.height) // 2))
        left += panel.width + _GAP
    return row


def _strip(legend: Legend) -> Image.Image:
    """The legend on one line: what each colour means, with its volume."""
    strip = Image.new("RGB", (2000, _FOOTER - _GAP), _PAPER)
    draw, middle, left = ImageDraw.Draw(strip), strip.height / 2, 0.0
    for colour, text in _entries(legend):
        if colour is not None:
            draw.rounded_rectangle((left, middle - 7, left + 14, middle + 7), 3, fill=colour)
            left += 22
        draw.text((left, middle), text, fill=_INK, font=font(16), anchor="lm")
        left += draw.textlength(text, font=font(16)) + 2 * _GAP
    return strip.crop((0, 0, int(left) - 2 * _GAP, strip.height))


def _entries(legend: Legend) -> list[tuple[_Colour | None, str]]:
    """Colour and text of each entry of the legend; the whole tumour has no colour of its own."""
    if not any(legend.labels_ml.values()):
        return [(None, "no tumour in this mask")]
    entries: list[tuple[_Colour | None, str]] = [
        (COLOURS[label], f"{NAMES[label]} {legend.labels_ml[label]:.1f} ml")
        for label in COLOURS
        if label in legend.labels_ml
    ]
    return [*entries, (None, f"whole tumour {legend.whole_tumour_ml:.1f} ml")]
