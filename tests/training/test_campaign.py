"""A campaign refuses what it cannot honestly do."""

from pathlib import Path

import pytest
import torch

from htcnns.errors import SettingsError
from htcnns.image.postprocess import PostprocessRules
from htcnns.training.campaign import Campaign, run_campaign


def campaign(folder: Path, n_steps: int | None) -> Campaign:
    return Campaign(folder, folder / "work", folder / "out", torch.device("cpu"), PostprocessRules(), n_steps)


def test_no_steps_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"--steps: 0 is below 1"):
        campaign(tmp_path, 0).recipe("unet")


def test_steps_are_those_of_the_shipped_weights_unless_told(tmp_path: Path) -> None:
    assert campaign(tmp_path, None).recipe("unet").n_steps == 1800
    assert campaign(tmp_path, 7).recipe("unet").n_steps == 7


def test_a_fit_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "BraTS-GLI-00001-000-t1c.nii.gz").touch()
    with pytest.raises(SettingsError, match=r"--only: unknown fit 'unet:fold9'; known are unet:fold0"):
        run_campaign(campaign(tmp_path, None), only=["unet:fold9"], tell=print)


@pytest.mark.parametrize(("n_steps", "expected"), [(1, [1, 0]), (2, [1, 1]), (5, [3, 2]), (1800, [1200, 600])])
def test_a_first_round_takes_two_thirds_of_the_steps(tmp_path: Path, n_steps: int, expected: list[int]) -> None:
    assert [each.n_steps for each in campaign(tmp_path, n_steps).recipe("unet").rounds] == expected


def test_the_second_round_looks_at_more_brain_thick_slices_and_other_scanners(tmp_path: Path) -> None:
    first, second = (each.variety for each in campaign(tmp_path, None).recipe("unet").rounds)
    assert first.thick_share == 0 < second.thick_share
    assert first.contrast_share == 0 < second.contrast_share
    assert second.tumour_share < first.tumour_share
