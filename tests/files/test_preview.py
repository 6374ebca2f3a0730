"""The overlay picture: which slices, which side is left, proportions, colours, legend, whole files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from htcnns.errors import OutputError
from htcnns.files import preview as preview_module
from htcnns.files.preview import COLOURS, PIXELS_PER_MM, overlay, preview, write_preview
from htcnns.image.phantom import Phantom, make_phantom
from htcnns.labels import Label, Sequence

ONE_MM = (1.0, 1.0, 1.0)


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


def coloured(picture: np.ndarray) -> np.ndarray:
    """(height, width) bool: pixels that are clearly not grey."""
    return np.ptp(picture.astype(int), axis=2) > 60


def places(picture: np.ndarray) -> list[tuple[str, str]]:
    """Where the colour lies in each of the three panels, down and across."""
    panels = np.array_split(coloured(picture), 3, axis=1)
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
def test_slices_are_shown_in_the_radiological_way(at, axial, coronal, sagittal) -> None:
    assert places(overlay(grey_block(), labelled(at), ONE_MM)) == [axial, coronal, sagittal]


def test_the_slices_with_the_most_tumour_are_chosen() -> None:
    label_map = labelled((4, 4, 4), Label.ED)
    label_map[20:36, 20:36, 30] = Label.ET  # the largest area of its axial slice, where no oedema is
    axial = np.array_split(overlay(grey_block(), label_map, ONE_MM), 3, axis=1)[0]
    assert colour_is_there(axial, Label.ET)
    assert not colour_is_there(axial, Label.ED)


def colour_is_there(picture: np.ndarray, label: Label) -> bool:
    return bool((np.abs(picture.astype(int) - COLOURS[label]).max(axis=2) < 25).any())


@pytest.mark.parametrize("label", list(COLOURS), ids=lambda label: label.name)
def test_each_label_is_outlined_in_its_colour(label: Label) -> None:
    assert colour_is_there(overlay(grey_block(), labelled((17, 17, 17), label), ONE_MM), label)


def test_without_tumour_the_overlay_is_grey() -> None:
    picture = overlay(grey_block(), np.zeros((40, 40, 40), np.uint8), ONE_MM)
    assert not coloured(picture).any()
    assert picture.max() > 200


def test_spacing_gives_the_panels_their_proportions() -> None:
    picture = overlay(grey_block(), labelled((17, 17, 17)), (1.0, 1.0, 2.0))
    cubic = overlay(grey_block(), labelled((17, 17, 17)), ONE_MM)
    assert cubic.shape[0] == 40 * PIXELS_PER_MM
    assert picture.shape[0] == 2 * cubic.shape[0]
    assert picture.shape[1] == cubic.shape[1]


def test_an_image_of_one_value_is_black() -> None:
    picture = overlay(np.full((8, 8, 8), 7, np.float32), np.zeros((8, 8, 8), np.uint8), (9.0, 9.0, 9.0))
    middle_of_the_first_panel = picture[:40, 20:100]
    assert middle_of_the_first_panel.max() == 0


def test_background_is_black_even_where_the_brain_is_negative() -> None:
    block = grey_block() - 75
    block[block == -75] = 0
    picture = overlay(block, np.zeros((40, 40, 40), np.uint8), ONE_MM)
    assert picture[0, 20:80].max() == 0


def test_a_mask_that_leaves_the_head_is_shown_whole(phantom: Phantom) -> None:
    label_map = phantom.truth.copy()
    label_map[0, 0, 0] = Label.ED
    wider = preview(shown(phantom), label_map, phantom.spacing_mm)
    assert wider.shape[0] > preview(shown(phantom), phantom.truth, phantom.spacing_mm).shape[0]


def test_the_legend_gives_volumes_in_millilitres() -> None:
    label_map = labelled((0, 0, 0), Label.ED) + labelled((20, 20, 20), Label.RC)
    texts = [text for _, text in preview_module._entries(label_map, 0.01)]
    assert texts == [
        "oedema 2.2 ml",
        "enhancing tumour 0.0 ml",
        "necrotic core 0.0 ml",
        "resection cavity 2.2 ml",
        "whole tumour 2.2 ml",
    ]


def test_the_legend_of_an_empty_mask_says_so() -> None:
    assert preview_module._entries(np.zeros((4, 4, 4), np.uint8), 1.0) == [(None, "no tumour in this mask")]


def test_preview_has_a_row_for_each_sequence(phantom: Phantom) -> None:
    two = preview(shown(phantom), phantom.truth, (4.0, 4.0, 4.0), title="phantom")
    one = preview({Sequence.T1C: phantom.sequences[1]}, phantom.truth, (4.0, 4.0, 4.0), title="phantom")
    assert two.dtype == np.uint8
    assert two.shape[1] == one.shape[1]
    assert two.shape[0] > 1.5 * one.shape[0]


def test_the_same_case_gives_the_same_file(tmp_path: Path, phantom: Phantom) -> None:
    write_preview(tmp_path / "a.png", shown(phantom), phantom.truth, phantom.spacing_mm, title="phantom")
    write_preview(tmp_path / "b.png", shown(phantom), phantom.truth, phantom.spacing_mm, title="phantom")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_write_preview_leaves_one_whole_png(tmp_path: Path, phantom: Phantom) -> None:
    write_preview(tmp_path / "case.png", shown(phantom), phantom.truth, phantom.spacing_mm, title="phantom")
    assert [path.name for path in tmp_path.iterdir()] == ["case.png"]
    with Image.open(tmp_path / "case.png") as picture:
        expected = preview(shown(phantom), phantom.truth, phantom.spacing_mm, title="phantom")
        np.testing.assert_array_equal(np.asarray(picture), expected)


def test_a_missing_folder_is_an_output_error(tmp_path: Path, phantom: Phantom) -> None:
    with pytest.raises(OutputError, match=r"case\.png"):
        write_preview(tmp_path / "nowhere" / "case.png", shown(phantom), phantom.truth, phantom.spacing_mm)
