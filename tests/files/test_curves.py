"""Curves and validation scores of a fit are read back from CSV up to a step, and other files are refused."""

from pathlib import Path

import pytest

from htcnns.errors import InputError, OutputError
from htcnns.files.curves import CaseDice, CurvePoint, read_curves, read_validation, write_curves, write_validation

POINTS = [
    CurvePoint(step=50, loss=1.25, learning_rate=1e-3, seconds=0.5, waited=0.0, skipped=0),
    CurvePoint(step=100, loss=0.75, learning_rate=5e-4, seconds=0.5, waited=0.1, skipped=2),
]
CASES = [
    CaseDice(50, "a", {"WT": 0.5, "ET": 0.25}),
    CaseDice(50, "caf\udce9, b", {"WT": 0.0}),
    CaseDice(100, "a", {"WT": 1.0, "ET": 0.125}),
    CaseDice(100, "=1\x1b", {"WT": 1.0, "ET": 0.125}),
]


def test_curves_come_back_up_to_a_step(tmp_path: Path) -> None:
    write_curves(tmp_path / "curves.csv", POINTS)
    assert read_curves(tmp_path / "curves.csv", up_to=100) == POINTS
    assert read_curves(tmp_path / "curves.csv", up_to=99) == POINTS[:1]
    assert (tmp_path / "curves.csv").read_text().splitlines()[0] == "step,loss,learning_rate,seconds,waited,skipped"


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "unet").write_text("mine")
    with pytest.raises(OutputError, match="unet: cannot be written"):
        write_curves(tmp_path / "unet" / "curves.csv", POINTS)


def test_absent_curves_have_no_points(tmp_path: Path) -> None:
    assert read_curves(tmp_path / "curves.csv", up_to=9) == []


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "step,loss\n1,x\n"])
def test_a_file_without_curves_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "curves.csv").write_text(text)
    with pytest.raises(InputError, match=r"curves\.csv: holds no curves"):
        read_curves(tmp_path / "curves.csv", up_to=9)


def test_scores_of_cases_come_back_up_to_a_step(tmp_path: Path) -> None:
    path = tmp_path / "fit" / "validation.csv"
    write_validation(path, CASES, ("WT", "ET"))
    assert path.read_bytes().splitlines()[:3] == [b"step,case,WT,ET", b"50,a,0.5,0.25", b'50,"caf\xe9, b",0.0,']
    assert path.read_bytes().splitlines()[-1] == b"100,'=1\\x1b,1.0,0.125"
    assert read_validation(path, up_to=100) == CASES
    assert read_validation(path, up_to=99) == CASES[:2]
    assert read_validation(tmp_path / "validation.csv", up_to=99) == []


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "step,case,WT\n1,a,x\n"])
def test_a_file_without_scores_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "validation.csv").write_text(text)
    with pytest.raises(InputError, match=r"validation\.csv: holds no curves"):
        read_validation(tmp_path / "validation.csv", up_to=9)
