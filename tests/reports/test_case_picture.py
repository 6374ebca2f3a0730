"""The picture of a case's report: outlines only, slices through the largest lesion, sides, and legend."""

import io

import numpy as np
import pytest
from PIL import Image

from htcnns.image.phantom import make_phantom
from htcnns.labels import GLIOMA, Label, Region, Sequence
from htcnns.reports.case_picture import OUTLINES, Caption, _entries, case_picture
from htcnns.reports.picture import png_bytes

CAPTION = Caption(title="P7", volumes_ml={Region.WT: 3.0, Region.TC: 2.0, Region.ET: 1.0}, diameters_mm=(31.6, 20.2))


def shown(label_map: np.ndarray, *, caption: Caption = CAPTION, value: float = 50.0) -> np.ndarray:
    """The picture of a grey block, without legend and title."""
    brain = np.zeros(label_map.shape, bool)
    brain[2:-2, 2:-2, 2:-2] = True
    scan = np.where(brain, np.linspace(value, 2 * value, label_map.shape[2]), 0).astype(np.float32)
    return case_picture({Sequence.T1C: scan}, label_map, brain, caption=caption)[60:-44]


def block(label: Label, *, at: tuple[int, int, int] = (20, 20, 20), size: int = 14) -> np.ndarray:
    label_map = np.zeros((60, 60, 60), np.uint8)
    label_map[tuple(slice(n, n + size) for n in at)] = label
    return label_map


def is_colour(pixels: np.ndarray, region: Region) -> np.ndarray:
    return np.abs(pixels.astype(int) - OUTLINES[region][0]).max(axis=2) < 30


@pytest.mark.parametrize(
    ("label", "regions"),
    [(Label.ED, {Region.WT}), (Label.NCR, {Region.TC}), (Label.ET, {Region.TC, Region.ET}), (Label.RC, {Region.RC})],
    ids=lambda value: value.name if isinstance(value, Label) else "",
)
def test_regions_are_outlined_in_their_colours(label: Label, regions: set[Region]) -> None:
    pixels = shown(block(label))
    assert {region for region in OUTLINES if is_colour(pixels, region).any()} >= regions


def test_the_inside_of_an_outline_shows_the_scan() -> None:
    pixels = shown(block(Label.ED, size=20))
    lines = is_colour(pixels, Region.WT)
    coloured = np.ptp(pixels.astype(int), axis=2) > 40
    panel = lines[:, : pixels.shape[1] // 3]
    rows, columns = np.nonzero(panel)
    middle = (rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2
    assert not coloured[middle[0] - 8 : middle[0] + 8, middle[1] - 8 : middle[1] + 8].any()


def test_slices_run_through_the_largest_lesion() -> None:
    label_map = block(Label.ED, at=(10, 10, 8), size=16)
    label_map[34:50, 34:50, 44] = Label.ET  # a larger area in one axial slice, but a smaller lesion
    assert not is_colour(shown(label_map)[:, :160], Region.ET).any()


def test_the_patients_left_is_on_the_right() -> None:
    axial = shown(block(Label.ED, at=(40, 20, 20)))[:, :160]
    _, columns = np.nonzero(is_colour(axial, Region.WT))
    assert columns.mean() > 80


def test_an_empty_mask_is_shown_without_outlines() -> None:
    pixels = shown(np.zeros((60, 60, 60), np.uint8))
    assert not (np.ptp(pixels.astype(int), axis=2) > 40).any()
    assert _entries(Caption(title="", volumes_ml=dict.fromkeys(GLIOMA.regions, 0.0), diameters_mm=None)) == [
        (None, "no tumour in this mask")
    ]


def test_the_legend_has_volumes_and_diameters() -> None:
    assert [text for _, text in _entries(CAPTION)] == [
        "whole tumour 3.0 ml",
        "tumour core 2.0 ml",
        "enhancing tumour 1.0 ml",
        "32 x 20 mm enhancing, axial",
    ]


def test_a_hostile_or_endless_title_does_not_change_the_size_of_the_picture() -> None:
    usual = shown(block(Label.ED))
    hostile = Caption(title="a\n\x1b[2J" * 400, volumes_ml=CAPTION.volumes_ml, diameters_mm=None)
    assert shown(block(Label.ED), caption=hostile).shape == usual.shape


def test_the_same_case_has_the_same_bytes() -> None:
    phantom = make_phantom((32, 40, 36), seed=3)
    scans = {Sequence.T1C: phantom.sequences[1], Sequence.T2F: phantom.sequences[3]}
    brain = phantom.sequences[0] > 0
    one, other = (png_bytes(case_picture(scans, phantom.truth, brain, caption=CAPTION)) for _ in range(2))
    assert one == other
    with Image.open(io.BytesIO(one)) as image:
        assert image.format == "PNG"


def test_an_array_without_brain_is_shown_whole() -> None:
    nothing = np.zeros((12, 12, 12), np.float32)
    pixels = case_picture({Sequence.T1C: nothing}, nothing.astype(np.uint8), nothing > 0, caption=CAPTION)
    assert pixels.dtype == np.uint8
