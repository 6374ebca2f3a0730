"""Folders against folders: names, numbers, grids, what is missing, and the tables that come out."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from htcnns.errors import InputError, SettingsError
from htcnns.files.tables import csv_text, json_text, markdown_text
from htcnns.runs.evaluate import EvaluateSettings, Evaluation, evaluate_folders
from htcnns.runs.score_tables import (
    cases_table,
    cohort_table,
    comparison_table,
    evaluation_json,
    ranking_table,
    worst_table,
)

NEW, OLD = "BraTS-GLI-00001-000", "BraTS2021_00495"


def label_map(*numbers: int) -> np.ndarray:
    """A volume of 20 voxels with a cube of 6 for each number, side by side."""
    volume = np.zeros((20, 20, 20), np.uint8)
    for position, number in enumerate(numbers):
        volume[6 * position : 6 * position + 6, 4:10, 4:10] = number
    return volume


def write(folder: Path, name: str, array: np.ndarray, *, offset_mm: float = 0.0) -> Path:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[0, 3] = offset_mm
    path = folder / f"{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def evaluate(root: Path, **settings: object) -> Evaluation:
    return evaluate_folders(root / "predictions", root / "truths", EvaluateSettings(**settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("prediction", "truth"),
    [
        (NEW, NEW),
        (NEW, f"{NEW}-seg"),
        (NEW, f"{NEW}/{NEW}-seg"),
        (f"{OLD}", f"{OLD}_seg"),
        ("00495", f"{OLD}/{OLD}_seg"),
    ],
    ids=["same", "seg", "nested", "old", "five digits"],
)
def test_names_pair(tmp_path: Path, prediction: str, truth: str) -> None:
    write(tmp_path / "predictions", prediction, label_map(1, 2))
    write(tmp_path / "truths", truth, label_map(1, 2))
    evaluation = evaluate(tmp_path)
    assert [case.case for case in evaluation.cases] == [truth.split("/")[0].removesuffix("-seg").removesuffix("_seg")]
    assert evaluation.cases[0].scores["WT"]["dice"] == 1


def test_scans_beside_a_truth_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "predictions", NEW, label_map(3))
    for name in (f"{NEW}/{NEW}-t1c", f"{NEW}/{NEW}-seg", f"{NEW}/brainmask"):
        write(tmp_path / "truths", name, label_map(3))
    assert len(evaluate(tmp_path).cases) == 1


def test_numbers_of_2021_meet_numbers_of_2023(tmp_path: Path) -> None:
    write(tmp_path / "predictions", OLD, label_map(1, 2, 3))
    write(tmp_path / "truths", OLD, label_map(1, 2, 4))
    evaluation = evaluate(tmp_path, prediction_labels="brats2023")
    assert [evaluation.cases[0].scores[region]["dice"] for region in ("WT", "TC", "ET")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("case", "numbers", "flag"),
    [(NEW, (1, 2, 4), "--prediction-labels brats2021"), (OLD, (1, 2, 3), "--prediction-labels brats2023")],
    ids=["4 without 3", "3 without 4"],
)
def test_numbers_of_another_year_name_the_flag(tmp_path: Path, case: str, numbers: tuple[int, ...], flag: str) -> None:
    write(tmp_path / "predictions", case, label_map(*numbers))
    write(tmp_path / "truths", case, label_map(1, 2))
    with pytest.raises(InputError, match=flag):
        evaluate(tmp_path)


def test_dropped_labels_are_counted_in_one_warning(tmp_path: Path) -> None:
    for case in (NEW, NEW.replace("1", "2")):
        write(tmp_path / "predictions", case, label_map(3, 4))
        write(tmp_path / "truths", case, label_map(3))
    evaluation = evaluate(tmp_path)
    assert evaluation.cautions == (
        "brats2023-gli does not score these labels, found in 2 files: 4 (432 voxels). They count as background.",
    )
    assert evaluation.cases[0].scores["WT"]["dice"] == 1


def test_a_resection_cavity_has_a_meaning_after_treatment(tmp_path: Path) -> None:
    write(tmp_path / "predictions", NEW, label_map(4))
    write(tmp_path / "truths", NEW, label_map(4))
    evaluation = evaluate(tmp_path, rules="brats2024-gli")
    assert (evaluation.cases[0].scores["RC"]["dice"], evaluation.cautions) == (1, ())


def test_label_sets_are_refused_where_a_rule_has_none(tmp_path: Path) -> None:
    write(tmp_path / "predictions", NEW, label_map(1))
    write(tmp_path / "truths", NEW, label_map(1))
    with pytest.raises(SettingsError, match=r"brats2024-men-rt: has no label sets"):
        evaluate(tmp_path, rules="brats2024-men-rt", truth_labels="brats2021")


def test_grids_of_different_size_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "predictions", NEW, label_map(1)[:-1])
    write(tmp_path / "truths", NEW, label_map(1))
    with pytest.raises(InputError, match=f"{NEW}: the grids differ; the prediction has 19x20x20 voxels"):
        evaluate(tmp_path)


def test_grids_that_lie_apart_are_refused_and_float_noise_is_not(tmp_path: Path) -> None:
    write(tmp_path / "predictions", NEW, label_map(1), offset_mm=1.0)
    write(tmp_path / "truths", NEW, label_map(1))
    with pytest.raises(InputError, match=r"lie up to 1\.0 mm apart"):
        evaluate(tmp_path)
    write(tmp_path / "predictions", NEW, label_map(1), offset_mm=1e-4)
    assert evaluate(tmp_path).cases[0].scores["WT"]["dice"] == 1


def test_names_without_a_partner_are_listed_and_scored_as_missed_when_asked(tmp_path: Path) -> None:
    write(tmp_path / "predictions", "both", label_map(3))
    write(tmp_path / "predictions", "predicted", label_map(3))
    write(tmp_path / "truths", "both", label_map(3))
    write(tmp_path / "truths", "known", label_map(3))
    evaluation = evaluate(tmp_path, missing="worst")
    assert (evaluation.without_truth, evaluation.without_prediction) == (("predicted",), ("known",))
    assert [(case.case, case.scores["ET"]["lesion_hd95_mm"]) for case in evaluation.cases] == [
        ("both", 0.0),
        ("known", 374.0),
    ]
    assert len(evaluate(tmp_path).cases) == 1


def test_nothing_in_common_is_one_clear_sentence(tmp_path: Path) -> None:
    write(tmp_path / "predictions", "a", label_map(3))
    write(tmp_path / "truths", "b", label_map(3))
    with pytest.raises(InputError, match=r"no prediction pairs with a truth.*found a against b"):
        evaluate(tmp_path)


def test_a_missing_or_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="predictions: no such folder"):
        evaluate(tmp_path)
    (tmp_path / "predictions").mkdir()
    with pytest.raises(InputError, match="predictions: no label maps"):
        evaluate(tmp_path)


def test_two_label_maps_for_a_case_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "predictions", NEW, label_map(3))
    write(tmp_path / "predictions", f"{NEW}-seg", label_map(3))
    with pytest.raises(InputError, match=f"two label maps for {NEW}"):
        evaluate(tmp_path)


@pytest.mark.parametrize(
    "settings", [{"rules": "brats1999"}, {"missing": "perhaps"}, {"definitions": ("hd100",)}], ids=str
)
def test_unknown_settings_list_the_known_ones(settings: dict) -> None:
    with pytest.raises(SettingsError, match=r"unknown .*; known are"):
        EvaluateSettings(**settings)


@pytest.fixture
def two_methods(tmp_path: Path) -> tuple[Evaluation, Evaluation]:
    """A perfect method, and one that is a voxel off and misses the second case."""
    for case in ("one", "two"):
        write(tmp_path / "truths", case, label_map(1, 3))
        write(tmp_path / "good", case, label_map(1, 3))
    write(tmp_path / "poor", "one", np.roll(label_map(1, 3), 1, axis=2))
    write(tmp_path / "poor", "two", label_map())
    good, poor = (
        evaluate_folders(tmp_path / name, tmp_path / "truths", EvaluateSettings()) for name in ("good", "poor")
    )
    return good, poor


def test_worst_cases_come_by_name(two_methods: tuple[Evaluation, Evaluation]) -> None:
    assert [row[0] for row in worst_table(two_methods[1]).rows] == ["two", "one"]


def test_comparison_counts_wins_and_ranking_puts_the_better_first(two_methods: tuple[Evaluation, Evaluation]) -> None:
    table = comparison_table(*two_methods)
    dice = next(dict(zip(table.columns, row, strict=True)) for row in table.rows if row[:2] == ("ET", "lesion_dice"))
    assert (dice["n_wins"], dice["n_ties"], dice["n_losses"]) == (2, 0, 0)
    assert [row[1:] for row in ranking_table(two_methods).rows] == [("good", 1.0), ("poor", 2.0)]


def test_methods_scored_by_different_rules_are_not_compared(
    two_methods: tuple[Evaluation, Evaluation], tmp_path: Path
) -> None:
    other = evaluate_folders(tmp_path / "poor", tmp_path / "truths", EvaluateSettings(rules="brats2023-met"))
    with pytest.raises(SettingsError, match="expected one rule"):
        comparison_table(two_methods[0], other)


def test_tables_become_csv_markdown_and_strict_json(two_methods: tuple[Evaluation, Evaluation]) -> None:
    cases, cohort = cases_table(two_methods[1]), cohort_table(two_methods[1])
    assert csv_text(cases).startswith("case,region,lesion_dice,lesion_hd95_mm,dice,hd95_mm")
    assert "| two | ET | 0.0000 | 374.00 |" in markdown_text([cases, cohort])
    record = json.loads(json_text(evaluation_json(two_methods[1])))
    assert record["cases"]["two"]["ET"]["official"]["LesionWise_Score_HD95"] == 374
    assert record["rules"] == "brats2023-gli"


def test_json_says_nan_and_inf_in_words() -> None:
    assert json.loads(json_text({"a": [float("nan"), float("inf"), 1.0]})) == {"a": ["nan", "inf", 1.0]}
