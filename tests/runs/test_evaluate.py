"""Scoring a folder of predictions against one of truths: which files pair, what is dropped, and what is missing."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from htcnns.errors import InputError
from htcnns.runs.evaluate import evaluate_folders
from htcnns.scores.evaluation import EvaluateSettings, Evaluation

NEW, OLD = "BraTS-GLI-00001-000", "BraTS2021_00495"


def label_map(*numbers: int) -> np.ndarray:
    """A volume of 20 voxels with a cube of 6 for each number, side by side."""
    volume = np.zeros((20, 20, 20), np.uint8)
    for position, number in enumerate(numbers):
        volume[6 * position : 6 * position + 6, 4:10, 4:10] = number
    return volume


def write(folder: Path, name: str, array: np.ndarray) -> Path:
    path = folder / f"{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([-1.0, -1.0, 1.0, 1.0])), path)
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


def test_dropped_labels_are_counted_in_one_warning(tmp_path: Path) -> None:
    for case in (NEW, NEW.replace("1", "2")):
        write(tmp_path / "predictions", case, label_map(3, 4))
        write(tmp_path / "truths", case, label_map(3))
    evaluation = evaluate(tmp_path)
    assert evaluation.cautions == (
        "brats2023-gli does not score these labels, found in 2 files: 4 (432 voxels). They count as background.",
    )
    assert evaluation.cases[0].scores["WT"]["dice"] == 1


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


def test_no_names_in_common_is_one_clear_sentence(tmp_path: Path) -> None:
    write(tmp_path / "predictions", "a", label_map(3))
    write(tmp_path / "truths", "b", label_map(3))
    with pytest.raises(InputError, match=r"no prediction belongs to a truth.*; found a against b"):
        evaluate(tmp_path)


def test_a_missing_or_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="predictions: does not exist"):
        evaluate(tmp_path)
    (tmp_path / "predictions").mkdir()
    with pytest.raises(InputError, match="predictions: no label maps"):
        evaluate(tmp_path)


def test_two_label_maps_for_a_case_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "predictions", NEW, label_map(3))
    write(tmp_path / "predictions", f"{NEW}-seg", label_map(3))
    with pytest.raises(InputError, match=f"two label maps of {NEW}"):
        evaluate(tmp_path)


@pytest.fixture
def no_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scoring any pair fails the test."""
    monkeypatch.setattr("htcnns.runs.evaluate.score_volumes", lambda *_, **__: pytest.fail("scored"))


@pytest.mark.usefixtures("no_scores")
def test_a_grid_mismatch_in_the_last_pair_is_reported_before_any_scoring(tmp_path: Path) -> None:
    for folder in ("predictions", "truths"):
        write(tmp_path / folder, "a", label_map(3))
    write(tmp_path / "predictions", "b", label_map(3)[:-1])
    write(tmp_path / "truths", "b", label_map(3))
    with pytest.raises(
        InputError, match=r"^b: the prediction has 19 x 20 x 20 voxels instead of .*; expected the grid"
    ):
        evaluate(tmp_path)


@pytest.mark.usefixtures("no_scores")
@pytest.mark.parametrize("file", ["predictions/b", "truths/b", "truths/c"])
def test_a_header_that_cannot_be_read_is_reported_before_any_scoring(tmp_path: Path, file: str) -> None:
    for name in ("predictions/a", "predictions/b", "truths/a", "truths/b", "truths/c"):
        write(tmp_path, name, label_map(3))
    (tmp_path / f"{file}.nii.gz").write_bytes(b"no longer packed")
    with pytest.raises(InputError, match=rf"{file}\.nii\.gz: named \.gz but is not gzip"):
        evaluate(tmp_path, missing="worst")
