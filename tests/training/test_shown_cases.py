"""Packed cases as training shows them to members with their own preprocessing."""

from pathlib import Path

import numpy as np
import pytest
from prepared import make_card, phantom_case, plain_case, write_phantoms

from htcnns.files.prepared_cases import PreparedCase, prepared_case
from htcnns.image.member_input import Preprocessing, shown_to_member
from htcnns.image.preprocess import PreprocessSettings
from htcnns.labels import Label
from htcnns.training.cases import open_store
from htcnns.training.packed_inference import as_networks_see
from htcnns.training.shown_cases import case_shown, store_shown

HOW = Preprocessing(resize=(40, 36, 44), clip=(0.01, 0.99))


@pytest.fixture(scope="module")
def case() -> PreparedCase:
    return phantom_case()


def test_members_are_shown_the_same_in_training_as_at_inference(case: PreparedCase) -> None:
    shown = case_shown(case, HOW)
    numbers = np.stack([row[array] for row, array in zip(shown.table, shown.array, strict=True)])
    padded = as_networks_see(case, PreprocessSettings(window=(48, 48, 48)))
    np.testing.assert_allclose(numbers, shown_to_member(padded, HOW).array, atol=0.05)
    assert shown.card.shape == (40, 36, 44)


def test_the_truth_is_stretched_with_the_brain() -> None:
    array = np.ones((4, 4, 4, 4), np.float32) * np.arange(1.0, 5.0, dtype=np.float32)
    label_map = np.zeros((4, 4, 4), np.uint8)
    label_map[0], label_map[2:] = Label.ED, Label.RC
    shown = case_shown(plain_case(array, label_map), Preprocessing(resize=(8, 8, 12)))
    np.testing.assert_array_equal(shown.label_map, label_map.repeat(2, 0).repeat(2, 1).repeat(3, 2))
    assert {label: len(places) for label, places in shown.places.items()} == {
        Label.BACKGROUND: 768,
        Label.ED: 192,
        Label.RC: 384,
    }


def test_unknown_voxels_stay_unknown() -> None:
    array = np.ones((4, 4, 4, 4), np.float32) * np.arange(1.0, 5.0, dtype=np.float32)
    inside = np.zeros((4, 4, 4), bool)
    inside[:2] = True
    case = prepared_case(make_card("c", shape=(4, 4, 4)), array, np.zeros((4, 4, 4), np.uint8), inside=inside)
    shown = case_shown(case, Preprocessing(resize=(8, 4, 4)))
    np.testing.assert_array_equal(shown.inside, inside.repeat(2, 0))


def test_a_store_changes_each_case_when_it_is_read(tmp_path: Path) -> None:
    store = open_store([write_phantoms(tmp_path / "cache", ["a", "b"])])
    shown = store_shown(store, HOW)
    assert shown["a"].label_map.shape == shown.only(["a"])["a"].label_map.shape == (40, 36, 44)
    assert store["a"].label_map.shape != (40, 36, 44)
    assert shown.cards == store.cards
    assert store_shown(store, Preprocessing()) is store
