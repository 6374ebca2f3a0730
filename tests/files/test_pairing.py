"""Pairing predictions with truths by file name, on empty files in two folders."""

from pathlib import Path

import pytest

from htcnns.errors import InputError
from htcnns.files.pairing import pair_files


def _touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    "truth",
    ["a.nii", "a-seg.nii.gz", "a_seg.nii.gz", "a_mask.nii.gz", "a/a-seg.nii.gz", "a/a.nii.gz"],
)
def test_a_truth_may_be_named_and_placed_in_several_ways(tmp_path: Path, truth: str) -> None:
    predictions, truths = _touch(tmp_path / "p", "a.nii.gz"), _touch(tmp_path / "t", truth)
    (pair,) = pair_files(predictions, truths).pairs
    assert (pair.case, pair.prediction, pair.truth) == ("a", predictions / "a.nii.gz", truths / truth)


def test_scans_hidden_files_and_other_files_in_a_cases_folder_are_ignored(tmp_path: Path) -> None:
    predictions = _touch(tmp_path / "p", "a.nii.gz", "._a.nii.gz", "notes.txt")
    truths = _touch(tmp_path / "t", "a/a-seg.nii.gz", "a/a-t1c.nii.gz", "a/brain.nii.gz", "a_flair.nii.gz")
    assert [pair.case for pair in pair_files(predictions, truths).pairs] == ["a"]


def test_cases_without_a_prediction_or_truth_are_listed(tmp_path: Path) -> None:
    predictions, truths = _touch(tmp_path / "p", "a.nii", "b.nii"), _touch(tmp_path / "t", "a.nii", "c.nii")
    pairing = pair_files(predictions, truths)
    assert pairing.without_truth == {"b": predictions / "b.nii"}
    assert pairing.without_prediction == {"c": truths / "c.nii"}


def test_five_digits_stand_for_the_only_case_that_ends_with_them(tmp_path: Path) -> None:
    predictions = _touch(tmp_path / "p", "00495.nii.gz", "00621.nii.gz")
    truths = _touch(tmp_path / "t", "BraTS2021_00495_seg.nii.gz", "BraTS2021_00621_seg.nii.gz", "X_00621.nii.gz")
    pairing = pair_files(predictions, truths)
    assert [pair.case for pair in pairing.pairs] == ["BraTS2021_00495"]
    assert list(pairing.without_truth) == ["00621"]


@pytest.mark.parametrize(
    ("predictions", "truths", "where"),
    [
        (("00495.nii.gz", "BraTS2021_00495.nii.gz"), ("BraTS2021_00495_seg.nii.gz",), "p"),
        (("BraTS2021_00495.nii.gz",), ("00495.nii.gz", "BraTS2021_00495.nii.gz"), "t"),
    ],
    ids=["predictions", "truths"],
)
def test_five_digits_and_the_whole_name_are_two_label_maps_of_one_case(
    tmp_path: Path, predictions: tuple[str, ...], truths: tuple[str, ...], where: str
) -> None:
    folders = _touch(tmp_path / "p", *predictions), _touch(tmp_path / "t", *truths)
    both = r"two label maps of BraTS2021_00495: 00495\.nii\.gz and BraTS2021_00495\.nii\.gz; expected one\. Move"
    with pytest.raises(InputError, match=f"/{where}: {both}"):
        pair_files(*folders)


@pytest.mark.parametrize(
    ("predictions", "says"),
    [
        (
            ("b.nii", "c.nii", "d.nii", "e.nii"),
            r"p: no prediction .* truth in .*/t; found b, c, d and 1 more against a\.",
        ),
        (("a.nii", "a-seg.nii.gz"), r"p: two label maps of a: a-seg\.nii\.gz and a\.nii; expected one\. Move"),
        (("x.txt",), r"p: no label maps; expected files like CASE\.nii\.gz"),
    ],
    ids=["nothing in common", "two files", "no label maps"],
)
def test_what_cannot_be_paired_is_refused(tmp_path: Path, predictions: tuple[str, ...], says: str) -> None:
    truths = _touch(tmp_path / "t", "a.nii")
    with pytest.raises(InputError, match=says):
        pair_files(_touch(tmp_path / "p", *predictions), truths)


def test_an_absent_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"p: does not exist; expected a folder with label maps"):
        pair_files(tmp_path / "p", _touch(tmp_path / "t", "a.nii"))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x" * 300, r"cannot be accessed \(File name too long\)"),
        ("file/below", "does not exist"),
        ("file", "is a file"),
    ],
    ids=["too long", "below a file", "a file"],
)
def test_an_impossible_folder_is_reported(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=f": {says}; expected a folder with label maps"):
        pair_files(tmp_path / name, tmp_path)


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(InputError, match=r"cannot be listed \(Permission denied\)"):
        pair_files(tmp_path, tmp_path)
