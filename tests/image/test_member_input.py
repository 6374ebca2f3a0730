"""What one member is shown: resized, clipped, the largest piece alone; and the way back."""

from dataclasses import replace

import numpy as np
import pytest

from htcnns.errors import SettingsError
from htcnns.image.member_input import Preprocessing, shown_to_member
from htcnns.image.phantom import make_phantom
from htcnns.image.preprocess import Prepared, PreprocessSettings, preprocess
from htcnns.labels import SEQUENCES
from htcnns.scores.metrics import dice
from htcnns.volume import bounding_box

RESIZED = Preprocessing(resize=(40, 40, 48))


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    """A phantom whose brain does not fill its window."""
    phantom = make_phantom((36, 40, 34), seed=2)
    return preprocess(phantom.sequences, phantom.affine, PreprocessSettings((48, 48, 48)))


def with_brain(brain: np.ndarray, *, values: np.ndarray | None = None) -> Prepared:
    """Prepared arrays of that brain: 1, 2, 3 … in its voxels unless `values` are given."""
    array = np.zeros((len(SEQUENCES), *brain.shape), np.float32)
    array[:, brain] = 1 + np.arange(brain.sum()) if values is None else values
    phantom = make_phantom((8, 8, 8), seed=1)
    tight = preprocess(phantom.sequences, phantom.affine, PreprocessSettings((1, 1, 1)))
    return replace(tight, array=array, brain=brain)


def test_by_default_a_member_sees_what_is_prepared_for_all(prepared: Prepared) -> None:
    assert shown_to_member(prepared, Preprocessing()) is prepared


def test_a_resized_brain_fills_its_grid(prepared: Prepared) -> None:
    seen = shown_to_member(prepared, RESIZED)
    assert (seen.array.shape, seen.array.dtype) == ((4, 40, 40, 48), np.float32)
    assert (seen.brain.shape, seen.brain.dtype) == ((40, 40, 48), bool)
    assert bounding_box(seen.brain) == (slice(0, 40), slice(0, 40), slice(0, 48))
    assert not seen.array[:, ~seen.brain].any()


def test_what_was_resized_comes_back_to_its_place(prepared: Prepared) -> None:
    seen = shown_to_member(prepared, RESIZED)
    back = seen.undo(seen.brain[None])[0]
    assert (back.shape, back.dtype) == (prepared.brain.shape, np.float32)
    assert dice(back >= 0.5, prepared.brain) > 0.98
    turned = seen.undo(seen.brain[None, ::-1, ::-1, ::-1])[0]
    assert dice(turned >= 0.5, prepared.brain) < 0.95


def test_doubling_the_edge_of_a_cube_is_undone_exactly() -> None:
    brain = np.zeros((6, 7, 8), bool)
    brain[1:5, 2:6, 3:7] = True
    seen = shown_to_member(with_brain(brain), Preprocessing(resize=(8, 8, 8)))
    values = np.random.default_rng(1).normal(size=(2, 4, 4, 4)).astype(np.float32)
    finer = values.repeat(2, 1).repeat(2, 2).repeat(2, 3)
    back = seen.undo(finer)
    np.testing.assert_allclose(back[:, 1:5, 2:6, 3:7], values, rtol=1e-6)
    assert not back[:, ~brain].any()


def test_a_place_in_the_resized_brain_maps_to_the_prepared_one() -> None:
    brain = np.zeros((6, 7, 8), bool)
    brain[1:5, 2:6, 3:7] = True
    undo = shown_to_member(with_brain(brain), Preprocessing(resize=(8, 8, 8))).undo
    np.testing.assert_allclose(undo.place(np.array([-0.5, 3.5, 7.5])), [0.5, 3.5, 6.5])


def test_outliers_are_cut_off_at_the_quantiles_of_the_brain() -> None:
    values = np.arange(101.0)
    values[-1] = 1e6
    brain = np.zeros((5, 5, 6), bool)
    brain.reshape(-1)[10:111] = True
    seen = shown_to_member(with_brain(brain, values=1 + values), Preprocessing(clip=(0.01, 0.99)))
    expected = np.clip(values, 1, 99)
    expected = (expected - expected.mean()) / expected.std()
    np.testing.assert_allclose(seen.array[2, brain], expected, rtol=1e-5)
    assert not seen.array[:, ~brain].any()


def test_what_is_only_clipped_stays_where_it_is(prepared: Prepared) -> None:
    seen = shown_to_member(prepared, Preprocessing(clip=(0.01, 0.99)))
    np.testing.assert_array_equal(seen.brain, prepared.brain)
    np.testing.assert_array_equal(seen.undo(seen.array), seen.array)
    assert seen.array[:, seen.brain].max() < prepared.array[:, prepared.brain].max()


def test_smaller_pieces_are_not_shown() -> None:
    brain = np.zeros((8, 8, 12), bool)
    brain[1:5, 1:5, 1:5] = True
    alone = shown_to_member(with_brain(brain), Preprocessing(largest_piece=True))
    np.testing.assert_array_equal(alone.brain, brain)
    both = brain.copy()
    both[1:4, 1:4, 8:11] = True
    seen = shown_to_member(with_brain(both), Preprocessing(largest_piece=True))
    np.testing.assert_array_equal(seen.brain, brain)
    assert not seen.array[..., 8:].any()
    np.testing.assert_allclose(seen.array[:, brain].mean(axis=1), 0, atol=1e-6)


def test_a_sequence_that_is_missing_stays_empty(prepared: Prepared) -> None:
    array = prepared.array.copy()
    array[1] = 0
    seen = shown_to_member(replace(prepared, array=array), replace(RESIZED, clip=(0.01, 0.99)))
    assert not seen.array[1].any()
    assert seen.array[0].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"resize": (0, 8, 8)}, "resize: impossible value; found 0 x 8 x 8, expected edges of at least 1 voxel"),
        ({"clip": (0.5, 0.5)}, "clip: impossible value; found 0.5 to 0.5, expected two quantiles from 0 to 1"),
        ({"clip": (-0.1, 0.9)}, "clip: impossible value; found -0.1 to 0.9"),
        ({"clip": (0.0, float("nan"))}, "clip: impossible value; found 0.0 to nan"),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Preprocessing(**settings)
