"""The gallery: one row per case, outlines in the labels' colours."""

import numpy as np

from htcnns.labels import Label
from htcnns.reports.gallery import SCALE, TILE, Shown, gallery
from htcnns.reports.picture import COLOURS


def shown(*, with_tumour: bool = True) -> Shown:
    """A grey cube with a tumour in its middle."""
    sequences = np.zeros((4, 60, 70, 50), np.float32)
    sequences[:, 5:55, 5:65, 5:45] = np.linspace(-2, 2, 40)
    truth = np.zeros((60, 70, 50), np.uint8)
    truth[20:40, 20:40, 20:30] = Label.ED if with_tumour else 0
    return Shown("case", sequences, truth)


def test_each_case_is_a_row_of_four_sequences_and_the_truth() -> None:
    one, two = gallery([shown()]), gallery([shown(), shown()])
    assert one.dtype == np.uint8
    assert two.shape == (2 * one.shape[0], one.shape[1], 3)
    assert one.shape[1] >= 5 * TILE * SCALE


def test_only_the_last_tile_of_a_row_is_coloured() -> None:
    page = gallery([shown()]).astype(int)
    coloured = np.abs(page - page.mean(axis=2, keepdims=True)).max(axis=2) > 20
    columns = np.flatnonzero(coloured[40:].any(axis=0))
    assert columns.min() > 4 * TILE * SCALE
    assert np.abs(page - np.array(COLOURS[Label.ED])).max(axis=2).min() <= 30  # enlarging blurs the line


def test_a_case_without_tumour_shows_no_colour() -> None:
    page = gallery([shown(with_tumour=False)]).astype(int)
    assert np.abs(page - page.mean(axis=2, keepdims=True)).max() <= 8


def test_slices_can_be_cut_across_each_axis() -> None:
    pages = [gallery([shown()], across=axis) for axis in range(3)]
    assert len({page.tobytes() for page in pages}) == 3


def test_a_brain_larger_than_the_tile_is_cut() -> None:
    row = shown()
    large = Shown(row.name, np.tile(row.sequences, (1, 4, 4, 1)), np.tile(row.truth, (4, 4, 1)))
    assert gallery([large]).shape == gallery([row]).shape
