"""Tuning finds a planted threshold, scores as the evaluation does, and measures its gain on other folds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from htcnns.errors import InputError
from htcnns.files.held_out_maps import HeldOutMap, MapCard, held_out_map
from htcnns.files.manifest import read_manifest
from htcnns.files.member import Member, WeightsFile
from htcnns.image.postprocess import PostprocessRules, postprocess
from htcnns.labels import GLIOMA, Label
from htcnns.training.thresholds import PAPER, Tuned, gains_table, nested_scores, tune, write_draft
from htcnns.training.tuning_cases import RULES, tune_case
from htcnns.training.voices import score_label_map

SHAPE = (24, 24, 24)
CARD = MapCard(case="a", fold=0, is_held_out=True, members=("m", "n"), regions=("WT", "TC", "ET"), key="k")


def nested(corner: int) -> np.ndarray:
    """A tumour of nested boxes."""
    truth = np.zeros(SHAPE, np.uint8)
    for inset, label in ((0, Label.ED), (1, Label.NCR), (2, Label.ET)):
        truth[(slice(corner + inset, corner + 12 - inset),) * 3] = label
    return truth


def shy(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(R, I, J, K) probabilities of 0.43 inside and 0.1 outside, with a little noise: right at a cut of 0.3 or 0.4."""
    masks = np.stack([truth > 0, np.isin(truth, (Label.NCR, Label.ET)), truth == Label.ET])
    return (np.where(masks, 0.43, 0.1) + rng.uniform(-0.02, 0.02, masks.shape)).astype(np.float32)


def sure(truth: np.ndarray) -> np.ndarray:
    masks = np.stack([truth > 0, np.isin(truth, (Label.NCR, Label.ET)), truth == Label.ET])
    return np.where(masks, np.float32(0.96), np.float32(0.04))


def case_of(number: int, rng: np.random.Generator) -> HeldOutMap:
    """A case in which member m is too cautious and member n is right."""
    truth = nested(2 + number)
    both = np.stack([shy(truth, rng), sure(truth)])
    return held_out_map(replace(CARD, case=f"case-{number}", fold=number % 2), both, truth)


@pytest.fixture(scope="module")
def maps() -> list[HeldOutMap]:
    rng = np.random.default_rng(3)
    return [case_of(number, rng) for number in range(4)]


@pytest.fixture(scope="module")
def tuned(maps: list[HeldOutMap]) -> Tuned:
    return tune(maps)


def test_each_case_is_scored_under_rules_of_the_other_fold(maps: list[HeldOutMap], tuned: Tuned) -> None:
    assert {fold: len(rules) for fold, rules in tuned.nested.items()} == {0: 2, 1: 2}
    strict = PostprocessRules(thresholds={"WT": 0.99, "TC": 0.99, "ET": 0.99})
    half = replace(tuned, nested={**tuned.nested, 1: [strict, strict]})
    whole, spoilt = (nested_scores(maps, each)[0] for each in (tuned, half))
    assert whole.name == "m"
    assert [case.case for case in whole.cases] == [each.card.case for each in maps]
    assert whole.values("WT", "dice").tolist() == [1, 1, 1, 1]
    assert spoilt.values("WT", "dice").tolist() == [1, 0, 1, 0]


def test_a_planted_threshold_is_found(tuned: Tuned) -> None:
    rules = tuned.rules["m"]
    assert {region: rules.thresholds[region] for region in ("WT", "TC", "ET")} == pytest.approx(
        {"WT": 0.3, "TC": 0.3, "ET": 0.3}, abs=0.11
    )
    gain = tuned.gains["m"]
    assert gain.before == 0
    assert gain.after == 1
    assert (gain.test.difference.low, gain.test.difference.high) == (1, 1)


def test_rules_that_are_already_best_are_kept(tuned: Tuned) -> None:
    assert tuned.rules["n"] == PAPER
    assert tuned.gains["n"].test.difference.value == 0


def test_every_voice_has_a_gain(tuned: Tuned) -> None:
    assert list(tuned.gains) == ["m", "n", "staple", "majority", "mean"]
    assert [row[0] for row in gains_table(tuned).rows] == list(tuned.gains)
    assert gains_table(tuned).rows[0][1:4] == (4, 0, 1)


def test_a_gain_within_a_single_fold_is_not_claimed(rng: np.random.Generator) -> None:
    truth = nested(4)
    loud = sure(truth)
    loud[:, 18:22, 18:22, 18:22] = 0.75  # a cut above 0.75 is right, but only in fold 0
    cases = [
        held_out_map(replace(CARD, case="a", fold=0, members=("m",)), loud[None], truth),
        held_out_map(replace(CARD, case="b", fold=1, members=("m",)), shy(truth, rng)[None], truth),
    ]
    gain = tune(cases).gains["m"]
    assert gain.after <= gain.before


@pytest.mark.parametrize("rules", [PAPER, PostprocessRules(thresholds={"WT": 0.3, "TC": 0.6}, et_total_voxels=0)])
def test_the_score_is_that_of_the_evaluation(rng: np.random.Generator, rules: PostprocessRules) -> None:
    truth = nested(0)
    truth[16:20, 16:20, 16:20] = Label.ET
    truth[21, 21, 21] = Label.ED
    blurred = sure(truth) * rng.uniform(0.5, 1, (3, *SHAPE)).astype(np.float32)
    made = held_out_map(replace(CARD, members=("m",)), blurred[None], truth)
    found = tune_case(made, 0, GLIOMA).score(rules, GLIOMA)
    label_map, _ = postprocess(made.probabilities[0], GLIOMA, rules)
    scores = score_label_map(label_map, truth, case="a", regions=GLIOMA, rules=RULES).scores
    assert found == pytest.approx(np.mean([(s["dice"] + s["lesion_dice"]) / 2 for s in scores.values()]))
    assert 0 < found < 1


def test_an_empty_case_that_stays_empty_scores_one() -> None:
    made = held_out_map(CARD, np.zeros((2, 3, *SHAPE), np.float32), np.zeros(SHAPE, np.uint8))
    assert tune_case(made, 0, GLIOMA).score(PAPER, GLIOMA) == 1


def test_the_draft_has_the_rules_the_gain_and_no_checksum(tmp_path: Path, tuned: Tuned) -> None:
    members = [
        Member(name=name, title=name, network="unet", size={}, files=(WeightsFile(Path("x.safetensors"), "1"),))
        for name in ("m", "n")
    ]
    write_draft(tmp_path, members, tuned)
    first, second = read_manifest(tmp_path)
    assert (first.rules, second.rules) == (tuned.rules["m"], tuned.rules["n"])
    assert set(first.scores["tuning"]) == {"m", "staple", "majority", "mean"}
    assert first.scores["tuning"]["m"]["gain"] == 1
    assert (first.files[0].path.name, first.files[0].sha256, first.trained_on) == ("m.safetensors", "", {})


def test_cases_of_one_fold_are_refused(maps: list[HeldOutMap]) -> None:
    with pytest.raises(InputError, match="held-out cases of one fold only"):
        tune(maps[::2])


@pytest.mark.parametrize("regions", [("WT", "TC", "ET", "RC"), ("ED", "NET", "CC", "ET")])
def test_regions_that_cannot_be_tuned_are_refused_with_what_to_do_instead(
    maps: list[HeldOutMap], regions: tuple[str, ...]
) -> None:
    others = [replace(each, card=replace(each.card, regions=regions)) for each in maps]
    with pytest.raises(
        InputError, match=rf"^held-out .*; found {' '.join(regions)}, expected .*\. Set .* by hand, under"
    ):
        tune(others)


def test_cases_of_other_members_are_refused(maps: list[HeldOutMap]) -> None:
    other = replace(maps[1], card=replace(maps[1].card, members=("m", "o")))
    with pytest.raises(InputError, match="different members or regions; found m n WT TC ET; m o WT TC ET"):
        tune([maps[0], other])
