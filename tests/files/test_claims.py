"""Claims let only one run work on a case and leave nothing behind."""

import os
from pathlib import Path

import pytest

from htcnns.errors import OutputError
from htcnns.files.atomic import sweep
from htcnns.files.claims import Claims, claim_path


def test_one_run_has_a_case_until_it_gives_it_back(tmp_path: Path) -> None:
    mask = tmp_path / "P1.nii.gz"
    with Claims() as ours, Claims() as theirs:
        assert ours.take(mask)
        assert not theirs.take(mask)
        assert theirs.take(tmp_path / "P2.nii.gz")
        ours.give_back(mask)
        assert theirs.take(mask)
        assert not ours.take(mask)


def test_a_case_cannot_be_taken_twice(tmp_path: Path) -> None:
    with Claims() as claims:
        assert [claims.take(tmp_path / "P1.nii.gz") for _ in range(2)] == [True, False]


def test_claims_leave_nothing_behind(tmp_path: Path) -> None:
    with Claims() as claims:
        for name in ("P1.nii.gz", "P2.nii.gz"):
            assert claims.take(tmp_path / name)
        assert [path.name[0] for path in tmp_path.iterdir()] == [".", "."]
        claims.give_back(tmp_path / "P1.nii.gz")
        claims.give_back(tmp_path / "P3.nii.gz")
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_has_ended_claims_nothing_more(tmp_path: Path) -> None:
    with Claims() as claims:
        pass
    assert not claims.take(tmp_path / "P1.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_a_claim_is_swept_once_its_run_has_ended_and_not_before(tmp_path: Path) -> None:
    mask = tmp_path / "P1.nii.gz"
    with Claims() as claims:
        assert claims.take(mask)
        assert sweep(tmp_path) == ()
    claim_path(mask).touch()
    assert sweep(tmp_path) == (claim_path(mask),)


def test_a_claim_left_by_a_killed_run_is_taken(tmp_path: Path) -> None:
    mask = tmp_path / "P1.nii.gz"
    claim_path(mask).touch()
    with Claims() as claims:
        assert claims.take(mask)
    assert not claim_path(mask).exists()


def test_a_file_that_is_removed_before_it_is_locked_is_not_a_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask, removals = tmp_path / "P1.nii.gz", []

    def remove_first(path: Path, *how: int) -> int:
        number = os_open(path, *how)
        if len(removals) < 3:
            removals.append(path)
            path.unlink()
        return number

    os_open = os.open
    monkeypatch.setattr("htcnns.files.claims.os.open", remove_first)
    with Claims() as claims:
        assert claims.take(mask)
        assert claim_path(mask).exists()
    assert len(removals) == 3


def test_a_link_in_place_of_a_claim_is_not_followed(tmp_path: Path) -> None:
    mask = tmp_path / "P1.nii.gz"
    claim_path(mask).symlink_to(tmp_path / "elsewhere")
    with Claims() as claims, pytest.raises(OutputError, match=r"cannot write \.htcnns-0-claim-"):
        claims.take(mask)
    assert not (tmp_path / "elsewhere").exists()


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with Claims() as claims, pytest.raises(OutputError, match=r"cannot write .*No such file or directory"):
        claims.take(tmp_path / "gone" / "P1.nii.gz")
