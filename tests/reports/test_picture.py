"""The overlay picture: which slices, which side is left, proportions, colours, legend, PNG bytes."""

import io

import numpy as np
import pytest
from PIL import Image

from htcnns.image.phantom import Phantom, make_phantom
from htcnns.labels import Label, Sequence
from htcnns.reports.picture import COLOURS, PIXELS_PER_MM, Legend, _entries, overlay, picture, png_bytes

ONE_MM = (1.0, 1.0, 1.0)
LEGEND = Legend({Label.ED: 1.0, Label.NCR: 0.0, Label.ET: 2.0}, whole_tumour_ml=3.0)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom((32, 40, 36), seed=3)


def shown(phantom: Phantom) -> dict[Sequence, np.ndarray]:
    return {Sequence.T1C: phantom.sequences[1], Sequence.T2F: phantom.sequences[3]}


def grey_block(shape: tuple[int, int, int] = (40, 40, 40)) -> np.ndarray:
    block = np.zeros(shape, np.float32)
    block[1:-1, 1:-1, 1:-1] = np.linspace(50, 100, shape[0] - 2)[:, None, None]
    return block


def labelled(
    at: tuple[int, int, int], label: Label = Label.ED, shape: tuple[int, int, int] = (40, 40, 40)
) -> np.ndarray:
    label_map = np.zeros(shape, np.uint8)
    label_map[tuple(slice(n, n + 6) for n in at)] = label
    return label_map


def coloured(pixels: np.ndarray) -> np.ndarray:
    """(height, width) bool: pixels that are clearly not grey."""
    return np.ptp(pixels.astype(int), axis=2) > 60


def places(pixels: np.ndarray) -> list[tuple[str, str]]:
    """Where the colour lies in each of the three panels, down and across."""
    panels = np.array_split(coloured(pixels), 3, axis=1)
    return [
        (third(rows, panel.shape[0]), third(columns, panel.shape[1]))
        for panel, (rows, columns) in zip(panels, map(np.nonzero, panels), strict=True)
    ]


def third(indices: np.ndarray, length: int) -> str:
    return ["start", "middle", "end"][int(3 * indices.mean() / length)]


@pytest.mark.parametrize(
    ("at", "axial", "coronal", "sagittal"),
    [
        ((30, 17, 17), ("middle", "end"), ("middle", "end"), ("middle", "middle")),
        ((4, 17, 17), ("middle", "start"), ("middle", "start"), ("middle", "middle")),
        ((17, 4, 17), ("start", "middle"), ("middle", "middle"), ("middle", "start")),
        ((17, 17, 30), ("middle", "middle"), ("start", "middle"), ("start", "middle")),
    ],
    ids=["left is on the right", "right is on the left", "anterior is up or left", "superior is up"],
)
def test_slices_follow_the_radiological_convention(at, axial, coronal, sagittal) -> None:
    assert places(overlay(grey_block(), labelled(at), ONE_MM)) == [axial, coronal, sagittal]


def test_the_slices_with_the_most_tumour_are_chosen() -> None:
    label_map = labelled((4, 4, 4), Label.ED)
    label_map[20:36, 20:36, 30] = Label.ET  # the largest area of any axial slice, in one without oedema
    axial = np.array_split(overlay(grey_block(), label_map, ONE_MM), 3, axis=1)[0]
    assert colour_is_there(axial, Label.ET)
    assert not colour_is_there(axial, Label.ED)


def colour_is_there(pixels: np.ndarray, label: Label) -> bool:
    return bool((np.abs(pixels.astype(int) - COLOURS[label]).max(axis=2) < 25).any())


@pytest.mark.parametrize("label", list(COLOURS), ids=lambda label: label.name)
def test_each_label_is_outlined_in_its_colour(label: Label) -> None:
    assert colour_is_there(overlay(grey_block(), labelled((17, 17, 17), label), ONE_MM), label)


def test_without_tumour_the_overlay_is_grey() -> None:
    pixels = overlay(grey_block(), np.zeros((40, 40, 40), np.uint8), ONE_MM)
    assert not coloured(pixels).any()
    assert pixels.max() > 200


def test_spacing_gives_the_panels_their_proportions() -> None:
    tall = overlay(grey_block(), labelled((17, 17, 17)), (1.0, 1.0, 2.0))
    cubic = overlay(grey_block(), labelled((17, 17, 17)), ONE_MM)
    assert cubic.shape[0] == 40 * PIXELS_PER_MM
    assert tall.shape[0] == 2 * cubic.shape[0]
    assert tall.shape[1] == cubic.shape[1]


def test_an_image_of_one_value_is_black() -> None:
    pixels = overlay(np.full((8, 8, 8), 7, np.float32), np.zeros((8, 8, 8), np.uint8), (9.0, 9.0, 9.0))
    middle_of_the_first_panel = pixels[:40, 20:100]
    assert middle_of_the_first_panel.max() == 0


def test_background_is_black_even_where_the_brain_is_negative() -> None:
    block = grey_block() - 75
    block[block == -75] = 0
    pixels = overlay(block, np.zeros((40, 40, 40), np.uint8), ONE_MM)
    assert pixels[0, 20:80].max() == 0


def test_a_mask_that_extends_beyond_the_head_is_shown_whole(phantom: Phantom) -> None:
    label_map = phantom.truth.copy()
    label_map[0, 0, 0] = Label.ED
    wider = picture(shown(phantom), label_map, phantom.spacing_mm, legend=LEGEND)
    assert wider.shape[0] > picture(shown(phantom), phantom.truth, phantom.spacing_mm, legend=LEGEND).shape[0]


def test_the_legend_shows_the_volumes_that_it_was_given() -> None:
    volumes_ml = {Label.ED: 2.16, Label.NCR: 0.0, Label.ET: 0.0, Label.RC: 1.04}
    assert [text for _, text in _entries(Legend(volumes_ml, whole_tumour_ml=2.2))] == [
        "oedema 2.2 ml",
        "enhancing tumour 0.0 ml",
        "necrotic or non-enhancing core 0.0 ml",
        "resection cavity 1.0 ml",
        "whole tumour 2.2 ml",
    ]


def test_the_legend_names_no_label_that_the_members_cannot_give() -> None:
    colours = [colour for colour, _ in _entries(Legend({Label.CC: 1.0, Label.ED: 0.0}, whole_tumour_ml=1.0))]
    assert colours == [COLOURS[Label.ED], COLOURS[Label.CC], None]


def test_the_legend_of_an_empty_mask_says_so() -> None:
    legend = Legend(dict.fromkeys(LEGEND.labels_ml, 0.0), whole_tumour_ml=0.0)
    assert _entries(legend) == [(None, "no tumour in this mask")]


def test_the_picture_has_a_row_for_each_sequence(phantom: Phantom) -> None:
    two = picture(shown(phantom), phantom.truth, (4.0, 4.0, 4.0), legend=LEGEND, title="phantom")
    t1c = {Sequence.T1C: phantom.sequences[1]}
    one = picture(t1c, phantom.truth, (4.0, 4.0, 4.0), legend=LEGEND, title="phantom")
    assert two.dtype == np.uint8
    assert two.shape[1] == one.shape[1]
    assert two.shape[0] > 1.5 * one.shape[0]


def test_the_same_case_has_the_same_bytes(phantom: Phantom) -> None:
    one, other = (
        png_bytes(picture(shown(phantom), phantom.truth, phantom.spacing_mm, legend=LEGEND, title="phantom"))
        for _ in range(2)
    )
    assert one == other


def test_png_bytes_hold_the_pixels(phantom: Phantom) -> None:
    expected = picture(shown(phantom), phantom.truth, phantom.spacing_mm, legend=LEGEND, title="phantom")
    with Image.open(io.BytesIO(png_bytes(expected))) as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), expected)
