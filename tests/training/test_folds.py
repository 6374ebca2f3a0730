"""Folds: dealt by patient or given in a list, and no fold is trained on patients that it is tested on."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from prepared import make_card

from htcnns.errors import InputError, SettingsError, WeightsError
from htcnns.files.fold_lists import Listed
from htcnns.files.manifest import read_manifest, write_manifest
from htcnns.files.names.brats import patient_of
from htcnns.files.prepared_cases import CaseKind
from htcnns.labels import Region
from htcnns.training.folds import Folds, among, deal, given, seen_by

FIVE = [make_card(name) for name in "eadbc"]
VISITS = [make_card(f"case{visit}", patients=[patient]) for visit, patient in ((0, "p"), (1, "q"), (2, "p"), (3, "r"))]


def listed(name: str, fold: int | None) -> Listed:
    return Listed(frozenset([name]), fold)


@pytest.mark.parametrize(
    ("case", "patient"),
    [
        ("BraTS-GLI-00001-000", "BraTS-GLI-00001"),
        ("BraTS-GLI-00001-101", "BraTS-GLI-00001"),
        ("BraTS-MET-00110-000", "BraTS-MET-00110"),
        ("brats-ssa-00002-000", "brats-ssa-00002"),
        ("BraTS2021_00495", "BraTS2021_00495"),
        ("Brats18_2013_21_1", "Brats18_2013_21_1"),
        ("BraTS20_Training_001", "BraTS20_Training_001"),
        ("patient-07-000", "patient-07-000"),
    ],
)
def test_the_patient_is_the_name_without_the_visit(case: str, patient: str) -> None:
    assert patient_of(case) == patient


def test_sorted_patients_are_dealt_in_turn() -> None:
    assert dict(deal(FIVE, 2).fold_of) == {"a": 0, "b": 1, "c": 0, "d": 1, "e": 0}
    assert dict(deal(FIVE[::-1], 3).fold_of) == {"a": 0, "b": 1, "c": 2, "d": 0, "e": 1}


def test_visits_of_a_patient_stay_together() -> None:
    folds = deal(VISITS, 3)
    assert [card.name for card in folds.held_out(VISITS, 0)] == ["case0", "case2"]
    assert [card.name for card in folds.trained_on(VISITS, 0)] == ["case1", "case3"]


@pytest.mark.parametrize("n_folds", [0, 1, 6])
def test_too_few_or_too_many_folds_are_refused(n_folds: int) -> None:
    with pytest.raises(SettingsError, match=rf"folds: {n_folds} folds of 5 patients; expected at least 2"):
        deal(FIVE, n_folds)


@for_all(patients=st.lists(st.integers(0, 9), min_size=4, max_size=30), n_folds=st.integers(2, 4))
def test_every_case_is_tested_once_by_a_fit_that_never_saw_its_patient(patients: list[int], n_folds: int) -> None:
    cards = [make_card(f"case{i}", patients=[f"p{patient}"]) for i, patient in enumerate([*patients, *range(4)])]
    folds = deal(cards, n_folds)
    tested = [card for fold in range(n_folds) for card in folds.held_out(cards, fold)]
    assert sorted(card.name for card in tested) == sorted(card.name for card in cards)
    for fold in range(n_folds):
        unseen = {card.patients[0] for card in folds.held_out(cards, fold)}
        assert unseen
        assert unseen.isdisjoint(card.patients[0] for card in folds.trained_on(cards, fold))
        assert len(folds.trained_on(cards, fold)) + len(folds.held_out(cards, fold)) == len(cards)


def test_a_piece_or_a_synthetic_head_of_a_held_out_patient_is_not_trained_on() -> None:
    piece = make_card("piece", patients=["a"], kind=CaseKind.PIECE)
    synthetic = make_card("synthetic", patients=["anatomy3", "a"], kind=CaseKind.SYNTHETIC)
    stranger = make_card("stranger", patients=["z"], kind=CaseKind.PIECE)
    cards = [*FIVE, piece, synthetic, stranger]
    folds = deal(cards, 2)
    assert dict(folds.fold_of) == dict(deal(FIVE, 2).fold_of)
    assert [card.name for card in folds.trained_on(cards, 0)] == ["b", "d", "stranger"]
    assert [card.name for card in folds.trained_on(cards, 1)] == ["a", "c", "e", "piece", "stranger", "synthetic"]
    assert [card.name for card in folds.held_out(cards, 0)] == ["a", "c", "e"]


def test_a_case_without_truth_is_neither_trained_on_nor_tested() -> None:
    cards = [*FIVE, make_card("f", known=())]
    folds = deal(cards, 2)
    assert "f" not in folds.by_case(cards)
    assert "f" not in [card.name for card in folds.trained_on(cards, None)]


def test_a_partly_annotated_case_is_dealt_into_a_fold() -> None:
    cards = [*FIVE, make_card("f", known=(Region.WT,))]
    assert deal(cards, 2).by_case(cards)["f"] == 1


def test_shipped_weights_are_trained_on_every_case() -> None:
    assert [card.name for card in deal(FIVE, 2).trained_on(FIVE, None)] == list("abcde")


@pytest.mark.parametrize("fold", [-1, 2])
def test_a_fold_that_does_not_exist_is_refused(fold: int) -> None:
    with pytest.raises(SettingsError, match=rf"fold: no fold {fold}; expected 0 to 1"):
        deal(FIVE, 2).trained_on(FIVE, fold)


def test_given_folds_are_taken_as_they_are() -> None:
    folds = given(FIVE, [listed(name, fold) for name, fold in zip("abcde", (1, 1, 0, 0, 0), strict=True)], place="x")
    assert dict(folds.fold_of) == {"a": 1, "b": 1, "c": 0, "d": 0, "e": 0}
    assert folds.by_case(FIVE) == {"a": 1, "b": 1, "c": 0, "d": 0, "e": 0}


def test_given_folds_recognise_a_case_by_a_file_name() -> None:
    lines = [
        Listed(frozenset(["TrainingData", "BraTS2021_01146_seg"]), 0),
        Listed(frozenset(["TrainingData", "BraTS2021_00011-t1c"]), 1),
        listed("somebody who is not here", 7),
    ]
    cards = [make_card("BraTS2021_01146"), make_card("BraTS2021_00011")]
    assert given(cards, lines, place="x") == Folds({"BraTS2021_01146": 0, "BraTS2021_00011": 1}, 2)


def test_a_listed_case_without_a_fold_is_trained_on_in_every_fold() -> None:
    lines = [("a", 0), ("b", None), ("c", 1), ("d", None), ("e", 1)]
    folds = given(FIVE, [listed(*line) for line in lines], place="x")
    assert folds.by_case(FIVE) == {"a": 0, "c": 1, "e": 1}
    assert [card.name for card in folds.trained_on(FIVE, 1)] == ["a", "b", "d"]


def test_listed_names_are_found_among_cases() -> None:
    lines = [
        Listed(frozenset(["TrainingData", "BraTS2021_01146", "BraTS2021_01146_seg"]), 0),
        Listed(frozenset(["imagesTr", "BraTS2021_00011_t1ce"]), None),
    ]
    names = ["BraTS2021_00002", "BraTS2021_00011", "BraTS2021_01146"]
    assert among(names, lines, place="cases") == {"BraTS2021_00011", "BraTS2021_01146"}


def test_a_listed_case_that_is_not_there_is_named() -> None:
    lines = [listed("a", 0), Listed(frozenset(["TrainingData", "BraTS2021_01146_seg"]), 0)]
    message = (
        r"cases: has no case BraTS2021_01146_seg; found 1 of the 2 listed cases missing, expected every listed case"
    )
    with pytest.raises(InputError, match=message):
        among("abc", lines, place="cases")


@pytest.mark.parametrize(
    ("cards", "lines", "message"),
    [
        (FIVE, [("a", 0), ("b", 1)], "folds.json: does not list c, d, e; expected a fold for every case"),
        (FIVE[:2], [("a", 0), ("a", 1), ("e", 1)], "folds.json: a is in folds 0 and 1"),
        (
            VISITS,
            [("case0", 0), ("case1", 1), ("case2", 1), ("case3", 0)],
            "folds.json: case0 and case2 are of one patient; found folds 0 and 1, expected one fold",
        ),
        (FIVE[:2], [("a", None), ("a", 1), ("e", 0)], "folds.json: a is in folds 1 and none"),
        (
            VISITS,
            [("case0", None), ("case1", 1), ("case2", 0), ("case3", 0)],
            "folds.json: case0 and case2 are of one patient; found folds 0 and none, expected one fold",
        ),
        (FIVE[:2], [("a", 0), ("e", 0)], "folds.json: its folds are 0; expected at least two, numbered from 0"),
        (FIVE[:2], [("a", 0), ("e", 2)], "folds.json: its folds are 0 and 2; expected at least two"),
    ],
    ids=["missing", "twice", "patient", "twice, once without", "patient, once without", "one", "gap"],
)
def test_given_folds_that_cannot_be_used_are_refused(cards: list, lines: list[tuple[str, int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        given(cards, [listed(*line) for line in lines], place="folds.json")


def test_cases_that_weights_were_trained_on_are_found(tmp_path: Path, tiny_weights: Path) -> None:
    members = [replace(each, trained_on={"cases": ["c", "e", "other"]}) for each in read_manifest(tiny_weights)]
    write_manifest(tmp_path, tuple(members))
    assert seen_by(tmp_path, ["a", "c", "e"], FIVE) == ["c", "e"]


def test_weights_that_do_not_say_what_they_were_trained_on_are_refused(tmp_path: Path, tiny_weights: Path) -> None:
    first, *others = read_manifest(tiny_weights)
    write_manifest(tmp_path, (replace(first, trained_on={"imported as": "nnunet-v2"}), *others))
    with pytest.raises(WeightsError, match=r"origin: .*: does not say what unet was trained on; expected the names"):
        seen_by(tmp_path, ["a"], FIVE)
