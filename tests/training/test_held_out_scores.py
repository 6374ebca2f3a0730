"""Scores of held-out maps: whose they are, and how an extra case, which every fold segments, is scored."""

from pathlib import Path

import numpy as np
import pytest

from htcnns.files.held_out_maps import MapCard, held_out_map, read_map_file, write_map_file
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import GLIOMA, Label
from htcnns.training.held_out_scores import Scoring, score_maps

SCORING = Scoring(regions=GLIOMA, clean_up=lambda _: [PostprocessRules()], rules="brats2021", with_raw=False)


def write_map(folder: Path, case: str, fold: int, found: float, *, is_held_out: bool = False) -> Path:
    """The map file of a case whose truth is a cube of ET, 6 voxels per side; its probability there is `found`."""
    truth = np.zeros((8, 8, 8), np.uint8)
    truth[1:7, 1:7, 1:7] = Label.ET
    probabilities = np.where(truth, np.float32(found), np.float32(0))[None, None].repeat(3, axis=1)
    card = MapCard(
        case=case, fold=fold, is_held_out=is_held_out, members=("unet",), regions=("WT", "TC", "ET"), key="key"
    )
    (folder / str(fold)).mkdir(exist_ok=True)
    return write_map_file(folder / str(fold), held_out_map(card, probabilities, truth))


def test_an_extra_case_counts_once_with_the_mean_over_the_folds(tmp_path: Path) -> None:
    paths = [write_map(tmp_path, "child", fold, found) for fold, found in enumerate((0.9, 0.1))]
    scored = score_maps(map(read_map_file, paths), SCORING)
    (by_fold,), (mean,) = scored.extra_by_fold(), scored.extra_means()
    assert [case.case for case in by_fold.cases] == ["child by fold 0", "child by fold 1"]
    assert by_fold.values("ET", "dice").tolist() == [1, 0]
    assert [case.case for case in mean.cases] == ["child"]
    assert mean.values("ET", "dice").tolist() == [0.5]
    assert mean.values("ET", "hd95_mm") == pytest.approx(by_fold.rule.penalty_mm / 2)
    assert scored.held_out() == ()


def test_held_out_and_extra_cases_are_kept_apart(tmp_path: Path) -> None:
    paths = [write_map(tmp_path, "one", 0, 0.9, is_held_out=True), write_map(tmp_path, "child", 0, 0.1)]
    scored = score_maps(map(read_map_file, paths), SCORING)
    assert [case.case for each in scored.held_out() for case in each.cases] == ["one"]
    assert [case.case for each in scored.extra_means() for case in each.cases] == ["child"]
    assert [each.name for each in scored.held_out()] == ["unet"]
