"""The voices of a set of members: each member and each fusion, cleaned or raw, scored in the rule's numbering."""

import numpy as np
import pytest

from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import GLIOMA, Label
from htcnns.scores.evaluation import EvaluateSettings, Evaluation
from htcnns.training.voices import score_label_map, voices, voices_cases, voices_summary, without_clean_up

SHAPE = (12, 12, 12)


@pytest.fixture
def truth() -> np.ndarray:
    truth = np.zeros(SHAPE, np.uint8)
    truth[2:10, 2:10, 2:10] = Label.ED
    truth[3:9, 3:9, 3:9] = Label.NCR
    truth[4:8, 4:8, 4:8] = Label.ET
    return truth


def sure(label_map: np.ndarray) -> np.ndarray:
    """(R, I, J, K) probabilities of 0.1 and 0.8 for a label map of nested regions."""
    masks = np.stack([label_map > 0, np.isin(label_map, (Label.NCR, Label.ET)), label_map == Label.ET])
    return np.where(masks, np.float32(0.8), np.float32(0.1))


def test_each_member_and_each_fusion_is_a_voice(truth: np.ndarray) -> None:
    twice = np.stack([sure(truth)] * 2)
    said = dict(voices(twice, ["a", "b"], GLIOMA, [without_clean_up(PostprocessRules())] * 2))
    assert list(said) == ["a", "b", "staple", "majority", "mean"]
    assert all(np.array_equal(label_map, truth) for label_map in said.values())


def test_one_member_is_not_fused(truth: np.ndarray) -> None:
    assert [name for name, _ in voices(sure(truth)[None], ["a"], GLIOMA, [PostprocessRules()])] == ["a"]


def test_specks_are_removed_from_a_fusion_as_in_a_run() -> None:
    maps = [np.zeros(SHAPE, np.uint8) for _ in range(3)]
    for each in maps:
        each[0:4, 0:4, 0:4] = Label.ED
    maps[0][6:11, 6:11, 6:9] = Label.ED
    maps[1][6:11, 6:11, 8:11] = Label.ED  # 25 voxels in both
    rules = [PostprocessRules(min_component_voxels={"WT": 30})] * 3
    said = dict(voices(np.stack(list(map(sure, maps))), ["a", "b", "c"], GLIOMA, rules))
    assert np.count_nonzero(said["a"]) == 64 + 75
    assert [np.count_nonzero(said[name]) for name in ("staple", "majority")] == [64, 64]


def test_each_member_has_its_own_rules(truth: np.ndarray) -> None:
    rules = [PostprocessRules(), PostprocessRules(thresholds={"WT": 0.9, "TC": 0.9, "ET": 0.9})]
    said = dict(voices(np.stack([sure(truth)] * 2), ["a", "b"], GLIOMA, rules))
    assert said["a"].any()
    assert not said["b"].any()


def test_raw_keeps_only_the_thresholds() -> None:
    rules = PostprocessRules(thresholds={"ET": 0.4}, min_component_voxels={"WT": 9})
    raw = without_clean_up(rules)
    assert (raw.thresholds, raw.min_component_voxels) == ({"ET": 0.4}, {})
    assert (raw.et_component_voxels, raw.et_total_voxels) == (0, 0)


@pytest.mark.parametrize("rules", ["brats2021", "brats2023-gli", "brats2026-met"])
def test_the_truth_itself_scores_one_under_each_numbering(truth: np.ndarray, rules: str) -> None:
    scored = score_label_map(truth, truth, case="BraTS2021_1", regions=GLIOMA, rules=rules)
    assert scored.scores["ET"]["dice"] == 1
    assert not any(scored.dropped)


def test_a_cyst_in_the_truth_is_core_and_a_cavity_is_background(truth: np.ndarray) -> None:
    other = np.where(truth == Label.NCR, np.uint8(Label.CC), truth)
    other[0, 0, 0] = Label.RC
    scored = score_label_map(truth, other, case="x", regions=GLIOMA, rules="brats2023-gli")
    assert [scored.scores[region]["dice"] for region in ("WT", "TC", "ET")] == [1, 1, 1]


def test_half_of_a_truth_scores_as_by_hand(truth: np.ndarray) -> None:
    half = truth.copy()
    half[6:] = 0
    scored = score_label_map(half, truth, case="x", regions=GLIOMA, rules="brats2023-gli")
    assert scored.scores["WT"]["dice"] == pytest.approx(2 * 0.5 / 1.5)


def test_tables_name_the_voice_first(truth: np.ndarray) -> None:
    scored = score_label_map(truth, truth, case="x", regions=GLIOMA, rules="brats2023-gli")
    settings = EvaluateSettings()
    evaluations = [Evaluation(name=name, settings=settings, cases=(scored,)) for name in ("a", "b")]
    summary = voices_summary(evaluations, "All")
    assert (summary.title, summary.names[:2]) == ("All", ("voice", "region"))
    assert [row[:2] for row in summary.rows] == [(v, r) for v in ("a", "b") for r in ("WT", "TC", "ET")]
    cases = voices_cases(evaluations)
    assert cases.rows[0][:4] == ("a", "x", "WT", 1.0)
