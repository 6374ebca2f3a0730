"""Poses: what moves, how far, and that intensities and truth move alike."""

import numpy as np
import pytest
import torch

from htcnns.labels import Label
from htcnns.scores.metrics import dice
from htcnns.training import pose
from htcnns.training.augment import Augmentation
from htcnns.training.pose import change_pose, wanted_margin

POSED = Augmentation(pose_share=1)
STILL = Augmentation(pose_share=1, largest_turn=0, largest_zoom=1)
TURNED_A_LOT = Augmentation(pose_share=1, largest_turn=60)
TURNED = Augmentation(pose_share=1, largest_zoom=1)
BENT = Augmentation(elastic_share=1)


def posed(array: np.ndarray, label_map: np.ndarray, edge: int, variety: Augmentation, seed: int) -> tuple:
    """The middle of a cube in a new pose, cut with the margin that it needs."""
    margin, grid = wanted_margin((edge, edge, edge), variety, np.random.default_rng(seed))
    assert grid is not None
    low = (np.array(label_map.shape) - edge) // 2 - margin
    box = tuple(slice(a, a + edge + 2 * m) for a, m in zip(low, margin, strict=True))
    masks = np.stack([label_map[box], label_map[box] > 0])
    moved, (labels, is_tumour) = change_pose(np.ascontiguousarray(array[(slice(None), *box)]), masks, grid)
    np.testing.assert_array_equal(is_tumour, labels > 0)
    return moved, labels


def ball(edge: int, radius: float) -> np.ndarray:
    """(edge, edge, edge) uint8: a round enhancing tumour in the middle."""
    axes = np.arange(edge) - (edge - 1) / 2
    i, j, k = np.meshgrid(axes, axes, axes, indexing="ij")
    return np.where(i**2 + j**2 + k**2 <= radius**2, np.uint8(Label.ET), np.uint8(Label.BACKGROUND))


def test_a_pose_without_turn_or_zoom_changes_nothing(rng: np.random.Generator) -> None:
    array = rng.normal(5, 1, (4, 28, 28, 28)).astype(np.float32)
    label_map = rng.choice(np.uint8([Label.BACKGROUND, Label.ED, Label.ET]), (28, 28, 28))
    moved, labels = posed(array, label_map, 20, STILL, 1)
    np.testing.assert_allclose(moved, array[:, 4:-4, 4:-4, 4:-4], atol=1e-3)
    np.testing.assert_array_equal(labels, label_map[4:-4, 4:-4, 4:-4])


def test_axes_keep_their_order_in_patches_of_three_different_edges() -> None:
    label_map = np.zeros((36, 28, 20), np.uint8)
    label_map[10:26, 8:14, 9:12] = Label.ED
    array = label_map[None].repeat(4, axis=0).astype(np.float32)
    margin, grid = wanted_margin((24, 20, 12), TURNED_A_LOT, np.random.default_rng(1))
    assert (margin <= [5, 4, 2]).all()  # a fifth of each edge
    assert margin.all()
    margin, grid = wanted_margin((24, 20, 12), STILL, np.random.default_rng(1))
    assert margin.tolist() == [0, 0, 0]
    masks = np.stack([label_map, label_map])[:, 6:30, 4:24, 4:16]
    moved, (labels, _) = change_pose(np.ascontiguousarray(array[:, 6:30, 4:24, 4:16]), masks, grid)
    np.testing.assert_array_equal(labels, label_map[6:30, 4:24, 4:16])
    np.testing.assert_allclose(moved[0], array[0, 6:30, 4:24, 4:16], atol=1e-4)


@pytest.mark.parametrize("variety", [POSED, BENT], ids=["posed", "bent"])
@pytest.mark.parametrize("seed", range(6))
def test_intensities_and_truth_move_alike_and_background_stays(variety: Augmentation, seed: int) -> None:
    label_map = np.zeros((44, 44, 44), np.uint8)
    label_map[12:26, 14:36, 9:30] = Label.ET
    array = np.where(label_map > 0, np.float32(9), np.float32(1))[None].repeat(4, axis=0)
    array[:, :12] = 0
    moved, labels = posed(array, label_map, 30, variety, seed)
    assert (moved.shape, moved.dtype, labels.shape, labels.dtype) == ((4, 30, 30, 30), np.float32, (30,) * 3, np.uint8)
    assert set(np.unique(labels)) == {Label.BACKGROUND, Label.ET}
    assert ((moved[0] > 5) == (labels == Label.ET)).mean() > 0.98
    assert (moved == 0).mean() > 0.02
    assert not labels[moved[0] == 0].any()
    assert ((moved > 0) & (moved < 0.4)).mean() < 2e-3  # linear interpolation leaves a fringe around the brain


def test_zoom_grows_and_shrinks_a_tumour_by_no_more_than_its_cube() -> None:
    label_map = ball(47, 9)
    array = np.ones((4, 47, 47, 47), np.float32)
    sizes = [(posed(array, label_map, 33, POSED, seed)[1] > 0).sum() for seed in range(20)]
    share = np.array(sizes) / (label_map > 0).sum()
    assert 1.25**-3 * 0.97 < share.min() < 0.8
    assert 1.2 < share.max() < 1.25**3 * 1.03


def test_a_turn_keeps_a_ball_and_tilts_a_plate_by_no_more_than_its_angles() -> None:
    array = np.ones((4, 47, 47, 47), np.float32)
    around = [posed(array, ball(47, 9), 33, TURNED, seed)[1] for seed in range(4)]
    assert min(dice(each > 0, ball(33, 9) > 0) for each in around) > 0.95
    plate = np.zeros((47, 47, 47), np.uint8)
    plate[23] = Label.ED
    reach = [np.ptp(np.flatnonzero(posed(array, plate, 33, TURNED, s)[1].any(axis=(1, 2)))) for s in range(8)]
    assert 4 < max(reach) < 15


def test_a_bend_moves_voxels_smoothly_and_folds_nothing() -> None:
    for seed in range(8):
        margin, grid = wanted_margin((96, 96, 96), BENT, np.random.default_rng(seed))
        straight = torch.linspace(-1, 1, 97)[1:] - 1 / 96
        moved = (grid[0].flip(-1) * (96 + 2 * margin[0]) / 2).numpy()  # voxels from the middle, along I, J, K
        here = (straight * 48).numpy()
        shift = moved - np.stack(np.meshgrid(here, here, here, indexing="ij"), axis=-1)
        assert np.abs(shift).max() < 5 * pose.LARGEST_BEND
        assert min(np.diff(moved[..., axis], axis=axis).min() for axis in range(3)) > -0.2


def test_patches_are_posed_and_bent_as_often_as_asked_for() -> None:
    variety = Augmentation(pose_share=0.3, elastic_share=0.3)
    grids = [wanted_margin((8, 8, 8), variety, np.random.default_rng(seed)) for seed in range(100)]
    assert 35 <= sum(grid is not None for _, grid in grids) <= 65
    margins = np.array([margin for margin, grid in grids if grid is not None])
    assert 0 <= margins.min() < margins.max() == 2
