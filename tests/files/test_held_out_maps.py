"""Held-out probabilities come back from disk to within half a step, and other files are refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from htcnns.errors import InputError
from htcnns.files.held_out_maps import (
    HeldOutMap,
    MapCard,
    held_out_map,
    map_has_key,
    map_key,
    read_map_file,
    read_maps,
    write_map_file,
)
from htcnns.labels import Label

CARD = MapCard(case="a", fold=1, is_held_out=True, members=("m", "n"), regions=("WT", "TC", "ET"), key="k")
SHAPE = (8, 9, 10)


@pytest.fixture
def known(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and truth in a part of the case."""
    probabilities = np.zeros((2, 3, *SHAPE), np.float32)
    probabilities[..., 2:5, 3:6, 4:8] = rng.random((2, 3, 3, 3, 4), np.float32)
    truth = np.zeros(SHAPE, np.uint8)
    truth[1:4, 3:5, 4:7] = Label.ED
    return probabilities, truth


@pytest.fixture
def made(known: tuple[np.ndarray, np.ndarray]) -> HeldOutMap:
    return held_out_map(CARD, *known)


def test_a_case_comes_back_as_it_was(tmp_path: Path, made: HeldOutMap, known: tuple[np.ndarray, np.ndarray]) -> None:
    read = read_map_file(write_map_file(tmp_path, made))
    assert (read.card, read.box, read.shape) == (CARD, made.box, SHAPE)
    np.testing.assert_allclose(read.probabilities, known[0], atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(read.label_map, known[1])
    assert read.numbers.shape == (2, 3, 4, 3, 4)


def test_probabilities_near_one_half_stay_on_their_side_of_the_cut() -> None:
    low, high = np.float32(0.4979), np.float32(0.5)
    values = np.array([low, high], np.float32).reshape(1, 1, 2, 1, 1)
    made = held_out_map(CARD, values, np.ones((2, 1, 1), np.uint8))
    assert (made.probabilities.ravel() >= 0.5).tolist() == [False, True]


def test_an_empty_case_keeps_its_shape() -> None:
    made = held_out_map(CARD, np.zeros((1, 3, *SHAPE), np.float32), np.zeros(SHAPE, np.uint8))
    assert made.probabilities.shape == (1, 3, *SHAPE)
    assert not made.label_map.any()


def test_only_a_file_with_the_same_key_counts(tmp_path: Path, made: HeldOutMap) -> None:
    path = write_map_file(tmp_path, made)
    assert map_has_key(path, "k")
    assert not map_has_key(path, "other")
    assert not map_has_key(tmp_path / "nothing", "k")


def test_other_weights_and_other_settings_have_other_keys() -> None:
    keys = {map_key(*each) for each in ((["a", "b"], "x"), (["b", "a"], "x"), (["a", "b"], "y"))}
    assert len(keys) == 3


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.held-out.npz"
    path.write_bytes(b"something")
    with pytest.raises(InputError, match=r"a\.held-out\.npz: holds no held-out probabilities"):
        read_map_file(path)


def test_all_held_out_cases_of_a_folder_are_read_and_extra_ones_are_not(tmp_path: Path, made: HeldOutMap) -> None:
    for name, is_held_out in (("b", True), ("a", True), ("c", False)):
        folder = tmp_path / f"fold-{int(name == 'b')}" / "maps"
        folder.mkdir(parents=True, exist_ok=True)
        write_map_file(folder, replace(made, card=replace(CARD, case=name, is_held_out=is_held_out)))
    assert [each.card.case for each in read_maps(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(("name", "says"), [("", "no held-out probabilities there"), ("x", "no such folder")])
def test_a_folder_without_maps_is_refused(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_maps(tmp_path / name)
