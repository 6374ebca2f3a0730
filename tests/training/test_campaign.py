"""A campaign refuses what it cannot honestly do."""

from pathlib import Path

import pytest
import torch

from htcnns.errors import SettingsError
from htcnns.files.weights import read_manifest
from htcnns.image.postprocess import PostprocessRules
from htcnns.runs.folder import SHIPPED_WEIGHTS
from htcnns.training.campaign import Campaign, run_campaign


def campaign(folder: Path, n_steps: int | None) -> Campaign:
    return Campaign(folder, folder / "work", folder / "out", torch.device("cpu"), PostprocessRules(), n_steps)


def test_no_steps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--steps: 0 is below 1"):
        campaign(tmp_path, 0).recipe("unet")


def test_steps_are_those_of_the_shipped_weights_unless_told(tmp_path: Path) -> None:
    trained = {member.name: member.trained_on["steps"] for member in read_manifest(SHIPPED_WEIGHTS)}
    assert {name: campaign(tmp_path, None).recipe(name).n_steps for name in trained} == trained
    assert {campaign(tmp_path, 7).recipe(name).n_steps for name in trained} == {7}


def test_a_fit_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "BraTS-GLI-00001-000-t1c.nii.gz").touch()
    with pytest.raises(SettingsError, match=r"--only: unknown fit 'unet:fold9'; known are unet:fold0"):
        run_campaign(campaign(tmp_path, None), only=["unet:fold9"], tell=print)


@pytest.mark.parametrize(
    ("n_steps", "expected"),
    [(1, [1, 0, 0]), (2, [2, 0, 0]), (11, [6, 3, 2]), (110, [60, 30, 20]), (2200, [1200, 600, 400])],
)
def test_rounds_share_the_steps_as_in_the_shipped_weights(tmp_path: Path, n_steps: int, expected: list[int]) -> None:
    assert [each.n_steps for each in campaign(tmp_path, n_steps).recipe("unet").rounds] == expected


def test_the_second_round_looks_at_more_brain_thick_slices_and_other_scanners(tmp_path: Path) -> None:
    first, second, _ = (each.variety for each in campaign(tmp_path, None).recipe("unet").rounds)
    assert first.thick_share == 0 < second.thick_share
    assert first.contrast_share == 0 < second.contrast_share
    assert second.tumour_share < first.tumour_share


@pytest.mark.parametrize("member", ["unet", "transbts", "axial_unet"])
def test_the_third_round_adds_other_heads_and_tumours_that_do_not_enhance(tmp_path: Path, member: str) -> None:
    _, second, third = (each.variety for each in campaign(tmp_path, None).recipe(member).rounds)
    assert second.pose_share == 0 < third.pose_share
    assert second.quench_share < third.quench_share
    assert third.slopes[0] < second.slopes[0] < second.slopes[1] < third.slopes[1]
