"""The tables and the record of a transfer study hold the statistics of its cases."""

from dataclasses import replace

from htcnns.reports.tables import table_records
from htcnns.scores.evaluation import EvaluateSettings, Evaluation, ScoredCase
from htcnns.training.transfer_study import StudyRow, TransferStudy
from htcnns.training.transfer_table import study_record, study_tables

SCORES = {"lesion_dice": 0.5, "lesion_hd95_mm": 8.0, "dice": 0.25, "hd95_mm": 4.0}
REGIONS = ("WT", "TC", "ET")


def evaluation(name: str, factors: dict[str, float], rules: str = "brats2023-gli") -> Evaluation:
    """Cases whose scores are `SCORES` times a factor; only those of ET are halved."""
    cases = [
        ScoredCase(
            case=case,
            scores={r: {s: v * factor / (2 if r == "ET" else 1) for s, v in SCORES.items()} for r in REGIONS},
        )
        for case, factor in factors.items()
    ]
    return Evaluation(name=name, settings=EvaluateSettings(rules=rules), cases=tuple(cases))


SCRATCH = StudyRow(
    name="scratch: unet",
    members=("unet",),
    n_fits=4,
    steps=(300, 300),
    target=evaluation("scratch: unet", {"a": 1, "b": 1}),
    extra=evaluation("scratch: unet", {"child": 1}),
)
FUSED = StudyRow(
    name="TR+EN",
    members=("unet", "twin"),
    n_fits=8,
    steps=(200, 300),
    target=evaluation("TR+EN", {"a": 1, "b": 2}),
    extra=evaluation("TR+EN", {"child": 2}),
)
STUDY = TransferStudy((SCRATCH, FUSED), ())


def test_each_population_has_whole_mask_and_lesion_tables_with_the_inner_regions_first() -> None:
    whole, lesions, *extra = study_tables(STUDY)
    assert whole.title == "Target population, whole masks: mean and 95 % interval over 2 cases"
    assert lesions.title == "Target population, lesion-wise: mean and 95 % interval over 2 cases"
    assert [table.title for table in extra] == [
        f"Extra cases, which no member saw, {what}: case child" for what in ("whole masks", "lesion-wise")
    ]
    columns = [f"{score} {region}" for score in ("Dice", "HD95 mm") for region in ("ET", "TC", "WT")]
    assert whole.names == lesions.names == ("row", "steps", "fits", *columns)


def test_a_cell_is_the_mean_of_its_cases() -> None:
    whole, lesions, child, _ = study_tables(STUDY)
    assert whole.rows[0] == (
        *("scratch: unet", "300", 4),
        *("0.1250 (0.1250 to 0.1250)", "0.2500 (0.2500 to 0.2500)", "0.2500 (0.2500 to 0.2500)"),
        *("2.00 (2.00 to 2.00)", "4.00 (4.00 to 4.00)", "4.00 (4.00 to 4.00)"),
    )
    assert whole.rows[1][:4] == ("TR+EN", "200 to 300", 8, "0.1875 (0.1250 to 0.2500)")
    assert lesions.rows[1][3] == "0.3750 (0.2500 to 0.5000)"
    assert child.rows[1][3:] == ("0.2500", "0.5000", "0.5000", "4.00", "8.00", "8.00")


def test_the_record_has_every_cell_unrounded() -> None:
    records = table_records(study_record(STUDY))
    assert len(records) == 2 * 2 * 3 * 4
    found = next(r for r in records if (r["row"], r["region"], r["score"]) == ("TR+EN", "WT", "lesion_hd95_mm"))
    assert found == {
        "population": "target",
        "row": "TR+EN",
        "n_fits": 8,
        "fewest_steps": 200,
        "most_steps": 300,
        "region": "WT",
        "score": "lesion_hd95_mm",
        "n_cases": 2,
        "n_undefined": 0,
        "mean": 12.0,
        "low": 8.0,
        "high": 16.0,
    }


def test_without_extra_cases_there_are_no_tables_of_them() -> None:
    study = TransferStudy(tuple(replace(row, extra=None) for row in STUDY.rows), ())
    assert len(study_tables(study)) == 2
    assert {record["population"] for record in table_records(study_record(study))} == {"target"}
