"""Evaluations as tables: who is worst, who wins, how numbers are rounded, and what the JSON record holds."""

import json

import numpy as np
import pytest

from htcnns.errors import SettingsError
from htcnns.reports.score_tables import (
    cases_table,
    cohort_table,
    comparison_table,
    evaluation_record,
    ranking_table,
    summary_table,
    worst_table,
)
from htcnns.reports.strict_json import json_text
from htcnns.reports.tables import csv_text, markdown_text, table_records
from htcnns.scores.evaluation import EvaluateSettings, Evaluation, score_volumes
from htcnns.volume import Volume

AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


def label_map(*numbers: int) -> np.ndarray:
    """A volume of 20 voxels per edge with a cube of 6 for each number, side by side."""
    volume = np.zeros((20, 20, 20), np.uint8)
    for position, number in enumerate(numbers):
        volume[6 * position : 6 * position + 6, 4:10, 4:10] = number
    return volume


def evaluation(name: str, predictions: dict[str, np.ndarray], **settings: object) -> Evaluation:
    """An evaluation of those predictions, the truth of each being two cubes."""
    how = EvaluateSettings(**settings)  # type: ignore[arg-type]
    truth = Volume(label_map(1, 3), AFFINE)
    cases = [score_volumes(Volume(p, AFFINE), truth, case=case, settings=how) for case, p in predictions.items()]
    return Evaluation(name=name, settings=how, cases=tuple(cases))


def good(**settings: object) -> Evaluation:
    """A perfect method."""
    return evaluation("good", {"one": label_map(1, 3), "two": label_map(1, 3)}, **settings)


def poor(**settings: object) -> Evaluation:
    """A method that is a voxel off and misses the second case."""
    return evaluation("poor", {"one": np.roll(label_map(1, 3), 1, axis=2), "two": label_map()}, **settings)


def test_worst_cases_are_named_worst_first() -> None:
    assert [row[0] for row in worst_table(poor()).rows] == ["two", "one"]


def test_comparison_counts_wins_and_ranking_puts_the_better_first() -> None:
    records = table_records(comparison_table(good(), poor()))
    dice = next(record for record in records if (record["region"], record["score"]) == ("ET", "lesion_dice"))
    assert (dice["n_wins"], dice["n_ties"], dice["n_losses"]) == (2, 0, 0)
    assert [row[1:] for row in ranking_table([poor(), good()]).rows] == [("good", 1.0), ("poor", 2.0)]


def test_methods_scored_by_different_rules_are_not_compared() -> None:
    with pytest.raises(SettingsError, match=r"different rules cannot be compared; found .*poor, expected one rule"):
        comparison_table(good(), poor(rules="brats2023-met"))


def test_tables_become_csv_and_markdown() -> None:
    cases, cohort = cases_table(poor()), cohort_table(poor())
    assert csv_text(cases).startswith("case,region,lesion_dice,lesion_hd95_mm,dice,hd95_mm")
    assert "| two | ET | 0.0000 | 374.00 |" in markdown_text([cases, cohort])


def test_a_score_is_rounded_by_its_kind_whatever_its_name_ends_with() -> None:
    table = cases_table(poor(rules="brats2025-men", definitions=("border-nsd-1mm", "hd95-medpy")))
    decimals = {column.name: column.decimals for column in table.columns}
    assert (decimals["lesion_nsd_1mm"], decimals["border-nsd-1mm"], decimals["dice"]) == (4, 4, 4)
    assert (decimals["hd95-medpy"], decimals["hd95_mm"], decimals["truth_volume_ml"], decimals["n_fp"]) == (2, 2, 2, 0)


def test_the_summary_has_no_counts_and_no_volumes() -> None:
    assert summary_table(poor()).names == (
        *("region", "lesion_dice", "lesion_hd95_mm", "dice", "hd95_mm", "sensitivity", "specificity"),
    )


def test_the_record_holds_every_score_and_its_official_name() -> None:
    record = json.loads(json_text(evaluation_record(poor())))
    assert record["cases"]["two"]["ET"]["official"]["LesionWise_Score_HD95"] == 374
    assert record["rules"] == "brats2023-gli"


def test_undefined_and_infinite_scores_are_words_in_the_record() -> None:
    scores = json.loads(json_text(evaluation_record(poor(rules="brats2026-gli"))))["cases"]["two"]
    assert (scores["ET"]["scores"]["hd95_mm"], scores["RC"]["scores"]["dice"]) == ("inf", "nan")
