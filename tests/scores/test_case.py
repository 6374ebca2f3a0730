"""A case under the challenges' rules, worked out by hand: thresholds, stray voxels, quirks, empty regions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from htcnns.errors import SettingsError
from htcnns.scores.case import CaseScores, missed_scores, score_case
from htcnns.scores.rules import RULES, Scheme, as_meant, rule

ONE_MM = (1.0, 1.0, 1.0)
SHAPE = (40, 40, 40)
LABEL_MAPS = arrays(np.uint8, (5, 6, 7), elements=st.sampled_from([0, 0, 0, 1, 2, 3]))
PROPERTY = settings(derandomize=True, deadline=None, max_examples=25)
EDITIONS = ["brats2023-gli", "brats2023-met", "brats2025-men"]


def boxes(*found: tuple[int, tuple[int, int, int], tuple[int, int, int]]) -> np.ndarray:
    """A label map with boxes: number, first voxel, edges."""
    label_map = np.zeros(SHAPE, np.uint8)
    for number, start, edges in found:
        label_map[tuple(slice(s, s + e) for s, e in zip(start, edges, strict=True))] = number
    return label_map


def score(prediction: np.ndarray, truth: np.ndarray, rules: str, **more: object) -> CaseScores:
    return score_case(prediction, truth, more.pop("spacing_mm", ONE_MM), rule=rule(rules), **more)  # type: ignore[arg-type]


CUBE = boxes((3, (4, 4, 4), (4, 4, 4)))
NOTHING = boxes()


def test_a_stray_voxel_halves_the_lesion_dice_and_costs_half_the_penalty() -> None:
    et = score(CUBE | boxes((3, (30, 30, 30), (1, 1, 1))), CUBE, "brats2023-gli")["ET"]
    assert (et["lesion_dice"], et["lesion_hd95_mm"], et["n_fp"]) == (0.5, 187.0, 1)
    assert et["dice"] == pytest.approx(128 / 129)


def test_2024_drops_the_stray_voxel() -> None:
    et = score(CUBE | boxes((3, (30, 30, 30), (1, 1, 1))), CUBE, "brats2024-ssa")["ET"]
    assert (et["lesion_dice"], et["lesion_hd95_mm"], et["n_fp"], et["dice"]) == (1, 0, 0, 1)


@pytest.mark.parametrize(
    ("length", "n_fn", "dice"), [(49, 0, 1.0), (50, 0, 1.0), (51, 1, 0.0)], ids=["below", "at", "above"]
)
def test_missed_lesions_count_above_fifty_mm3_only(length: int, n_fn: int, dice: float) -> None:
    truth = np.zeros((3, 3, 60), np.uint8)
    truth[1, 1, :length] = 3
    et = score(np.zeros_like(truth), truth, "brats2023-gli")["ET"]
    assert (et["n_fn"], et["lesion_dice"], et["lesion_hd95_mm"]) == (n_fn, dice, 374 * n_fn)


def test_the_threshold_is_a_volume_not_a_voxel_count() -> None:
    truth = boxes((3, (4, 4, 4), (1, 1, 26)))
    assert score(NOTHING, truth, "brats2023-gli", spacing_mm=(1.0, 1.0, 2.0))["ET"]["n_fn"] == 1
    assert score(NOTHING, truth, "brats2023-gli", spacing_mm=(1.0, 1.0, 1.5))["ET"]["n_fn"] == 0


def test_a_lesion_that_the_prediction_splits_is_one_hit_scored_against_both_parts() -> None:
    truth = boxes((3, (4, 4, 4), (4, 4, 12)))
    prediction = boxes((3, (4, 4, 4), (4, 4, 5)), (3, (4, 4, 10), (4, 4, 6)))
    et = score(prediction, truth, "brats2023-gli")["ET"]
    assert (et["n_tp"], et["n_fp"], et["n_fn"]) == (1, 0, 0)
    assert et["lesion_dice"] == pytest.approx(2 * 176 / (176 + 192))


def test_near_lesions_of_the_truth_are_merged_or_not_depending_on_the_rule() -> None:
    near = boxes((3, (4, 4, 4), (4, 4, 4)), (3, (4, 4, 12), (4, 4, 4)))  # four voxels apart
    assert score(near, near, "brats2023-gli")["ET"]["n_tp"] == 1
    assert score(near, near, "brats2023-met")["ET"]["n_tp"] == 2


@pytest.mark.parametrize("rules", [name for name, row in RULES.items() if row.scheme is not Scheme.INSTANCES])
def test_a_region_empty_in_both_is_perfect(rules: str) -> None:
    scores = score(NOTHING, NOTHING, rules)
    assert all(s["dice"] == 1 and s["hd95_mm"] == 0 and s["sensitivity"] == 1 for s in scores.values())
    assert all(s.get("lesion_dice", 1) == 1 and s.get("lesion_hd95_mm", 0) == 0 for s in scores.values())


def test_a_region_empty_in_one_gets_the_penalty() -> None:
    missed, invented = score(NOTHING, CUBE, "brats2023-gli")["ET"], score(CUBE, NOTHING, "brats2023-gli")["ET"]
    assert [missed[s] for s in ("dice", "hd95_mm", "lesion_dice", "lesion_hd95_mm", "n_fn")] == [0, 374, 0, 374, 1]
    assert [invented[s] for s in ("dice", "hd95_mm", "lesion_dice", "lesion_hd95_mm", "n_fp")] == [0, 374, 0, 374, 1]


def test_invented_lesions_do_not_count_under_radiotherapy_rules() -> None:
    gtv = score(CUBE // 3, NOTHING, "brats2024-men-rt")["GTV"]
    assert (gtv["lesion_dice"], gtv["lesion_hd95_mm"], gtv["n_fp"], gtv["dice"]) == (1, 0, 1, 0)
    assert gtv["hd95_mm"] == pytest.approx(np.sqrt(3) * 40)


def test_snfh_is_dilated_three_times_by_a_typo_and_five_times_as_meant() -> None:
    truth = boxes((2, (4, 4, 4), (4, 4, 4)), (2, (4, 4, 16), (4, 4, 4)))  # eight voxels apart
    row = rule("brats2024-gli")
    assert score_case(truth, truth, ONE_MM, rule=row)["SNFH"]["n_tp"] == 2
    assert score_case(truth, truth, ONE_MM, rule=as_meant(row))["SNFH"]["n_tp"] == 1


def test_whole_mask_scores_of_2024_are_those_of_the_label_image_unless_as_meant() -> None:
    """Both lesions are found, but only number 1 counts as found: 64 of 64 + 2 * 64."""
    truth = boxes((3, (4, 4, 4), (4, 4, 4)), (3, (4, 4, 30), (4, 4, 4)))
    row = rule("brats2024-ssa")
    assert score_case(truth, truth, ONE_MM, rule=row)["ET"]["sensitivity"] == pytest.approx(1 / 3)
    assert score_case(truth, truth, ONE_MM, rule=as_meant(row))["ET"]["sensitivity"] == 1


def test_label_image_hd95_measures_the_inside_of_the_second_lesion() -> None:
    """Without its centre, the second lesion's surface hardly moves; in the label image all its inside is surface."""
    truth = boxes((3, (4, 4, 4), (4, 4, 4)), (3, (4, 4, 20), (9, 9, 9)))
    prediction = truth.copy()
    prediction[6:11, 6:11, 22:27] = 0
    row = rule("brats2024-ssa")
    quirk, meant = (score_case(prediction, truth, ONE_MM, rule=r)["ET"]["hd95_mm"] for r in (row, as_meant(row)))
    assert quirk < meant


def test_2026_matches_one_to_one_and_counts_the_other_half_as_invented() -> None:
    truth = boxes((3, (4, 4, 4), (4, 4, 12)))
    prediction = boxes((3, (4, 4, 4), (4, 4, 5)), (3, (4, 4, 10), (4, 4, 6)))
    et = score(prediction, truth, "brats2026-gli")["ET"]
    assert (et["n_tp"], et["n_fp"], et["n_fn"], et["precision"], et["recall"]) == (1, 1, 0, 0.5, 1)
    assert et["lesion_dice"] == pytest.approx(2 * 96 / (96 + 192))


def test_2026_has_nan_for_a_region_empty_in_both_and_infinity_if_empty_in_one() -> None:
    empty, missed = score(NOTHING, NOTHING, "brats2026-gli")["ET"], score(NOTHING, CUBE, "brats2026-gli")["ET"]
    assert np.isnan([empty["dice"], empty["lesion_dice"], empty["f1"], missed["precision"]]).all()
    assert (missed["dice"], missed["hd95_mm"], missed["recall"]) == (0, np.inf, 0)


def test_2026_ignores_the_voxel_size_of_whole_masks_unless_as_meant() -> None:
    moved = np.roll(CUBE, 1, axis=2)
    row = rule("brats2026-gli")
    found = [score_case(moved, CUBE, (1.0, 1.0, 3.0), rule=r)["ET"] for r in (row, as_meant(row))]
    assert [f["hd95_mm"] for f in found] == [1, 3]
    assert [f["lesion_hd95_mm"] for f in found] == [1, 3]


def test_large_metastases_start_at_27_mm3() -> None:
    truth = boxes((3, (4, 4, 4), (3, 3, 3)), (3, (20, 20, 20), (2, 2, 2)))
    et = score(truth, truth, "brats2026-met")["ET"]
    assert (et["large_n_tp"], et["small_n_tp"], et["large_dice"], et["large_f1"], et["small_f1"]) == (1, 1, 1, 1, 1)
    assert np.isnan(score(truth, truth, "brats2026-met")["RC"]["large_f1"])


def test_volumes_are_in_millilitres() -> None:
    et = score(np.roll(CUBE, 20), CUBE | boxes((3, (20, 20, 20), (2, 2, 2))), "brats2023-gli", spacing_mm=(2, 1, 1))
    assert et["ET"]["prediction_volume_ml"] == pytest.approx(0.128)
    assert et["ET"]["truth_volume_ml"] == pytest.approx(0.144)
    assert et["ET"]["volume_error_ml"] == pytest.approx(-0.016)


def test_a_missing_prediction_gets_the_worst_scores_even_where_the_truth_is_empty() -> None:
    scores = missed_scores(boxes((2, (4, 4, 4), (4, 4, 4))), ONE_MM, rule=rule("brats2023-gli"))
    assert [scores[r]["lesion_dice"] for r in ("WT", "ET")] == [0, 0]
    assert [scores[r]["lesion_hd95_mm"] for r in ("WT", "ET")] == [374, 374]
    assert [scores[r]["n_fn"] for r in ("WT", "ET")] == [1, 0]


def test_definitions_are_added_by_name() -> None:
    assert score(CUBE, CUBE, "brats2021", definitions=("border-nsd-1mm",))["ET"]["border-nsd-1mm"] == 1


def test_grids_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="one grid"):
        score(NOTHING, NOTHING[:-1], "brats2021")


def test_an_unknown_rule_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match=r"^rules: unknown rules 'brats2022'; expected one of .*brats2023-gli"):
        rule("brats2022")


def test_an_unverified_rule_says_so() -> None:
    assert rule("brats2023-ssa").caution == "brats2023-ssa: not verified against official output"
    assert rule("brats2023-gli").caution is None


@PROPERTY
@given(LABEL_MAPS, LABEL_MAPS, st.permutations(range(3)), st.sets(st.integers(0, 2)), st.sampled_from(EDITIONS))
def test_scores_do_not_change_when_axes_are_turned_with_their_spacing(
    prediction: np.ndarray, truth: np.ndarray, order: list[int], flipped: set[int], rules: str
) -> None:
    spacing_mm = (1.0, 1.5, 3.0)
    turned = [np.flip(array, tuple(flipped)).transpose(order) for array in (prediction, truth)]
    i, j, k = (spacing_mm[axis] for axis in order)
    expected, found = (
        score(prediction, truth, rules, spacing_mm=spacing_mm),
        score(*turned, rules, spacing_mm=(i, j, k)),
    )
    assert found["WT"] == pytest.approx(expected["WT"])
    assert found["ET"] == pytest.approx(expected["ET"])


@PROPERTY
@given(LABEL_MAPS, LABEL_MAPS, st.sampled_from(sorted(n for n in RULES if "2026" not in n)))
def test_no_score_before_2026_is_ever_nan(prediction: np.ndarray, truth: np.ndarray, rules: str) -> None:
    scores = score(prediction, truth, rules)
    assert not np.isnan([v for values in scores.values() for v in values.values()]).any()


@PROPERTY
@given(LABEL_MAPS, st.sampled_from(EDITIONS))
def test_a_prediction_equal_to_the_truth_is_perfect(truth: np.ndarray, rules: str) -> None:
    scores = score(truth, truth, rules)
    assert all(
        (s["lesion_dice"], s["lesion_hd95_mm"], s["dice"], s["hd95_mm"]) == (1, 0, 1, 0) for s in scores.values()
    )


def test_dilation_stops_at_the_border_so_that_lesions_are_numbered_as_officially() -> None:
    """Unclipped, the second lesion would be met first: dilated beyond the volume, it would start a plane earlier."""
    truth = np.zeros((8, 8, 40), np.uint8)
    truth[1, 0:2, 2:10] = 3  # starts one plane in, reaches plane 0
    truth[0, 5:7, 20:38] = 3  # in plane 0; unclipped its dilation would reach plane -3
    found = score(truth, truth, "brats2024-met")["ET"]["sensitivity"]
    assert found == pytest.approx(16 / (16 + 2 * 36))


def test_2026_scores_each_pair_as_if_it_were_alone() -> None:
    """Many pairs are measured at once; none may see the border of another's lesion, not even that of a near one."""
    alone = boxes((3, (4, 4, 4), (3, 3, 3)))
    moved = np.roll(alone, 2, axis=2)
    neighbour = boxes((3, (4, 4, 12), (3, 3, 5)))
    expected = score(moved, alone, "brats2026-gli")["ET"]["lesion_hd95_mm"]
    found = score(moved | neighbour, alone | neighbour, "brats2026-gli")["ET"]
    assert found["n_tp"] == 2
    assert found["lesion_hd95_mm"] == expected / 2


def test_2026_measures_a_pair_whose_borders_lie_far_apart() -> None:
    """The far end of a rod that was found at one end only: nothing of its partner lies within four voxels."""
    truth, prediction = boxes((3, (4, 4, 4), (1, 1, 30))), boxes((3, (4, 4, 4), (1, 1, 2)))
    distances = [*np.zeros(2), *np.zeros(2), *range(1, 29)]
    found = score(prediction, truth, "brats2026-gli")["ET"]["lesion_hd95_mm"]
    assert found == pytest.approx(np.percentile(distances, 95))
