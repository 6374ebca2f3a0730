"""Lists of folds: the Swin UNETR scripts' JSON and CSV are read, CSV comes back as written, others are refused."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from htcnns.errors import InputError
from htcnns.files.fold_lists import read_fold_list, read_patients, write_fold_list
from htcnns.files.prepared_cases import CaseKind
from htcnns.training.folds import given

SWIN = {
    "training": [
        {
            "fold": 0,
            "image": ["TrainingData/BraTS2021_01146/BraTS2021_01146_flair.nii.gz"],
            "label": "TrainingData/BraTS2021_01146/BraTS2021_01146_seg.nii.gz",
        },
        {"fold": 1, "image": ["TrainingData/BraTS2021_00011/BraTS2021_00011_flair.nii.gz"]},
    ]
}


def test_the_swin_unetr_format_is_read(tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    path.write_text(json.dumps(SWIN))
    one, other = read_fold_list(path)
    assert one.names == {"TrainingData", "BraTS2021_01146", "BraTS2021_01146_seg"}
    assert (one.fold, other.fold) == (0, 1)
    assert "BraTS2021_00011" in other.names


def test_a_plain_list_of_the_same_entries_is_read(tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    path.write_text(json.dumps(SWIN["training"]))
    assert [line.fold for line in read_fold_list(path)] == [0, 1]


def test_an_entry_without_a_fold_is_held_out_by_no_fold(tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    path.write_text(json.dumps({"training": [{"image": ["a/b_flair.nii.gz"]}, {"fold": 0, "image": ["a/c.nii.gz"]}]}))
    assert [line.fold for line in read_fold_list(path)] == [None, 0]


def test_paths_with_backslashes_are_split(tmp_path: Path) -> None:
    path = tmp_path / "folds.json"
    path.write_text(json.dumps([{"fold": 2, "label": r"data\case7\seg.nii"}]))
    assert read_fold_list(path)[0].names >= {"data", "case7", "seg"}


def test_csv_comes_back_as_written(tmp_path: Path) -> None:
    write_fold_list(tmp_path / "folds.csv", {"b": 1, "a": 0})
    assert (tmp_path / "folds.csv").read_text() == "case,fold\na,0\nb,1\n"
    assert [(set(line.names), line.fold) for line in read_fold_list(tmp_path / "folds.csv")] == [({"a"}, 0), ({"b"}, 1)]


@pytest.mark.parametrize(
    ("case", "cell"),
    [
        ("=1+1", b"'=1+1"),
        ("a\nb", b"a\\nb"),
        ("a\x1bb", b"a\\x1bb"),
        ("a\\nb", b"a\\nb"),
        ("caf\udce9", b"caf\xe9"),
        ("a, b", b'"a, b"'),
        ("'quoted", b"'quoted"),
    ],
    ids=["formula", "line end", "ESC", "backslash", "no UTF-8", "comma", "apostrophe"],
)
def test_any_case_name_comes_back_and_is_harmless_in_a_spreadsheet(tmp_path: Path, case: str, cell: bytes) -> None:
    write_fold_list(tmp_path / "folds.csv", {case: 0, "x": 1})
    assert cell + b",0" in (tmp_path / "folds.csv").read_bytes().splitlines()
    cards = [SimpleNamespace(name=name, kind=CaseKind.HEAD, known=("WT",), patients=(name,)) for name in (case, "x")]
    folds = given(cards, read_fold_list(tmp_path / "folds.csv"), place="folds.csv")
    assert folds.by_case(cards) == {case: 0, "x": 1}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "cannot be read as JSON"),
        ("b.json", "7", "is not a list of folds; expected CSV with the columns"),
        ("c.json", '{"validation": []}', "is not a list of folds"),
        ("d.json", '[{"fold": 0}]', "has a line without a case or a fold; found case None, fold 0"),
        ("e.json", '[{"label": "x.nii", "fold": -1}]', "found case 'x.nii', fold -1"),
        ("f.json", "[]", "lists no cases"),
        ("g.csv", "case,fold\n", "lists no cases"),
        ("h.csv", "name,fold\nx,1\n", "line 2 has no case; expected columns case, fold"),
        ("i.csv", "case,fold\nx,one\n", "found case 'x', fold 'one'"),
    ],
)
def test_what_is_not_a_fold_list_is_refused_by_name(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=f"{name}: .*{message}"):
        read_fold_list(tmp_path / name)


def test_a_missing_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.csv: cannot be read"):
        read_fold_list(tmp_path / "gone.csv")


def test_patients_of_cases_are_read(tmp_path: Path) -> None:
    (tmp_path / "patients.csv").write_text("case,patient\nBraTS20_Training_049,CBICA_ASK_1\n")
    assert read_patients(tmp_path / "patients.csv") == {"BraTS20_Training_049": "CBICA_ASK_1"}


def test_a_case_without_a_patient_is_refused(tmp_path: Path) -> None:
    (tmp_path / "patients.csv").write_text("case,patient\nx,\n")
    with pytest.raises(InputError, match="line 2 has no patient"):
        read_patients(tmp_path / "patients.csv")
