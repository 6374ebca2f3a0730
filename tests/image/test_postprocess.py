"""Post-processing: the cut, the nesting, and each rule just below, at and just above its limit."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from htcnns.errors import SettingsError
from htcnns.image.postprocess import Changes, PostprocessRules, agreeing, postprocess, with_filled_holes
from htcnns.labels import GLIOMA, REGION_SETS, Label, Region, RegionSet, region_mask

SHAPE = (32, 32, 32)
RULES = PostprocessRules()
WITH_CAVITY, PAEDIATRIC = REGION_SETS["wt-tc-et-rc"], REGION_SETS["et-net-cc-ed"]
NO_SIZES = {"WT": 0, "TC": 0, "ET": 0}


def head(wt: float = 0.0) -> np.ndarray:
    """(3, I, J, K) float32 probabilities: `wt` in the lower half, nothing else."""
    probabilities = np.zeros((3, *SHAPE), np.float32)
    probabilities[0, :, :, :16] = wt
    return probabilities


def put_et(probabilities: np.ndarray, n_voxels: int, p: float, *, at: tuple[int, int] = (2, 2)) -> np.ndarray:
    """Those probabilities and a sheet of touching ET voxels: rows of 16 along I, added along J from (0, *at)."""
    changed = probabilities.copy()
    j, k = at
    flat = np.arange(n_voxels)
    changed[2, flat % 16, j + flat // 16, k] = p
    changed[:2, flat % 16, j + flat // 16, k] = 1
    return changed


def counted(probabilities: np.ndarray, rules: PostprocessRules) -> tuple[np.ndarray, Changes]:
    return postprocess(probabilities, GLIOMA, rules)


def cleaned(probabilities: np.ndarray, rules: PostprocessRules) -> np.ndarray:
    return counted(probabilities, rules)[0]


def agree(probabilities: np.ndarray, label_map: np.ndarray, rules: PostprocessRules) -> np.ndarray:
    return agreeing(probabilities, label_map, GLIOMA, rules)


def n_labelled(label_map: np.ndarray, label: Label) -> int:
    return int((label_map == label).sum())


def test_each_voxel_gets_the_label_of_its_innermost_region():
    probabilities = np.zeros((3, 1, 1, 4), np.float32)
    probabilities[0, ..., 1:] = probabilities[1, ..., 2:] = probabilities[2, ..., 3:] = 1
    np.testing.assert_array_equal(cleaned(probabilities, RULES).ravel(), [0, Label.ED, Label.NCR, Label.ET])


def test_a_voxel_at_its_threshold_is_in_the_region_and_one_below_is_not():
    rules = PostprocessRules(thresholds={"WT": 0.3, "TC": 0.5, "ET": 0.7})
    probabilities = np.zeros((3, 1, 1, 2), np.float32)
    probabilities[0, 0, 0] = [0.3, np.nextafter(np.float32(0.3), np.float32(0))]
    np.testing.assert_array_equal(cleaned(probabilities, rules).ravel(), [Label.ED, 0])


def test_et_voxels_outside_the_other_regions_join_them():
    probabilities = np.zeros((3, *SHAPE), np.float32)
    probabilities[2, 4:10, 4:10, 4:10] = 1
    label_map = cleaned(probabilities, RULES)
    assert label_map.dtype == np.uint8
    np.testing.assert_array_equal(label_map, np.where(probabilities[2] == 1, Label.ET, Label.BACKGROUND))


def test_regions_nest_whatever_the_probabilities(rng: np.random.Generator):
    label_map = cleaned(rng.random((3, *SHAPE), dtype=np.float32), RULES)
    wt, tc, et = (region_mask(label_map, region) for region in GLIOMA.regions)
    assert (tc <= wt).all()
    assert (et <= tc).all()
    assert et.any()


# A large sure component keeps the rule on the total from applying here.
@pytest.mark.parametrize(
    ("n_voxels", "p", "n_moved"),
    [
        (15, 0.89, 15),
        (15, 0.9, 0),
        (15, 0.91, 0),
        (16, 0.89, 0),
        (17, 0.55, 0),
        (1, 0.6, 1),
        (1, 1.0, 0),
    ],
)
def test_a_small_doubtful_et_component_becomes_ncr(n_voxels: int, p: float, n_moved: int):
    probabilities = put_et(put_et(head(), 120, 1.0, at=(2, 2)), n_voxels, p, at=(2, 20))
    label_map, changes = counted(probabilities, RULES)
    assert n_labelled(label_map, Label.ET) == 120 + n_voxels - n_moved
    assert n_labelled(label_map, Label.NCR) == n_moved
    assert changes == Changes({Label.NCR: n_moved} if n_moved else {})


@pytest.mark.parametrize(
    ("n_voxels", "p", "n_moved"),
    [(72, 0.89, 72), (72, 0.9, 0), (72, 0.91, 0), (73, 0.89, 0), (74, 0.55, 0)],
)
def test_few_doubtful_et_voxels_in_total_all_become_ncr(n_voxels: int, p: float, n_moved: int):
    label_map, changes = counted(put_et(head(), n_voxels, p), RULES)
    assert n_labelled(label_map, Label.ET) == n_voxels - n_moved
    assert n_labelled(label_map, Label.NCR) == n_moved
    assert changes.n_voxels == n_moved


def test_the_total_counts_only_what_the_component_rule_left():
    # 60 + 15 = 75 voxels reach 73, but the 15 doubtful ones go first, and then 60 are too few.
    probabilities = put_et(put_et(head(), 60, 0.8, at=(2, 2)), 15, 0.8, at=(2, 20))
    label_map, changes = counted(probabilities, RULES)
    assert n_labelled(label_map, Label.ET) == 0
    assert n_labelled(label_map, Label.NCR) == 75
    assert changes == Changes({Label.NCR: 75})


def test_the_mean_of_the_total_is_over_voxels_not_components():
    # (20 * 0.6 + 40 * 1.0) / 60 = 0.867 < 0.9 although one of two components is sure
    doubtful = put_et(put_et(head(), 40, 1.0, at=(2, 2)), 20, 0.6, at=(2, 20))
    assert n_labelled(cleaned(doubtful, RULES), Label.ET) == 0
    # (20 * 0.8 + 40 * 1.0) / 60 = 0.933
    sure = put_et(put_et(head(), 40, 1.0, at=(2, 2)), 20, 0.8, at=(2, 20))
    assert n_labelled(cleaned(sure, RULES), Label.ET) == 60


@pytest.mark.parametrize(
    ("p", "least", "n_left"), [(0.7, 0.75, 0), (0.75, 0.75, 200), (0.8, 0.75, 200), (0.7, 0.0, 200)], ids=str
)
def test_improbable_et_becomes_ncr_whatever_its_size(p: float, least: float, n_left: int):
    label_map, changes = counted(put_et(head(), 200, p), PostprocessRules(et_least_mean=least))
    assert n_labelled(label_map, Label.ET) == n_left
    assert n_labelled(label_map, Label.NCR) == changes.n_voxels == 200 - n_left


def test_the_least_mean_is_over_what_the_component_rule_left():
    # (10 * 0.6 + 400 * 0.8) / 410 = 0.795 < 0.8, but the 10 doubtful voxels go first
    probabilities = put_et(put_et(head(), 400, 0.8, at=(2, 2)), 10, 0.6, at=(2, 20))
    assert n_labelled(cleaned(probabilities, PostprocessRules(et_least_mean=0.8)), Label.ET) == 400


def test_the_component_mean_is_over_et_probabilities_alone():
    probabilities = put_et(put_et(head(), 120, 1.0, at=(2, 2)), 10, 0.8, at=(2, 20))
    probabilities[:2] = 1
    assert n_labelled(cleaned(probabilities, RULES), Label.ET) == 120


def test_voxels_that_touch_at_a_corner_are_one_component():
    diagonal = put_et(head(), 120, 1.0)
    steps = np.arange(16)
    diagonal[:, 10 + steps, 14 + steps, 16 + steps] = 0.6
    assert n_labelled(cleaned(diagonal, RULES), Label.ET) == 136
    diagonal[:, 10, 14, 16] = 0
    assert n_labelled(cleaned(diagonal, RULES), Label.ET) == 120


def test_the_rules_can_be_switched_off():
    off = PostprocessRules(et_component_voxels=0, et_total_voxels=0)
    label_map, changes = counted(put_et(head(), 1, 0.6), off)
    assert n_labelled(label_map, Label.ET) == 1
    assert changes == Changes({})


def two_nested_tumours(small: int) -> np.ndarray:
    """A WT cube of edge 12 around TC of 8 and ET of 6, and apart from it a cube of edge `small` that is all ET."""
    probabilities = np.zeros((3, *SHAPE), np.float32)
    probabilities[0, 2:14, 2:14, 2:14] = 1
    probabilities[1, 4:12, 4:12, 4:12] = 1
    probabilities[2, 5:11, 5:11, 5:11] = 1
    probabilities[:, 20 : 20 + small, 20 : 20 + small, 20 : 20 + small] = 1
    return probabilities


@pytest.mark.parametrize(
    ("region", "label", "changes"),
    [
        ("WT", Label.BACKGROUND, Changes({Label.BACKGROUND: 27})),
        ("TC", Label.ED, Changes({Label.ED: 27})),
        ("ET", Label.NCR, Changes({Label.NCR: 27})),
    ],
    ids=["WT", "TC", "ET"],
)
def test_a_component_below_its_regions_size_becomes_what_surrounds_it(region: str, label: Label, changes: Changes):
    probabilities = two_nested_tumours(small=3)
    whole = cleaned(probabilities, RULES)
    at_limit = PostprocessRules(min_component_voxels={**NO_SIZES, region: 27})
    np.testing.assert_array_equal(cleaned(probabilities, at_limit), whole)
    above_it = PostprocessRules(min_component_voxels={**NO_SIZES, region: 28})
    label_map, found = counted(probabilities, above_it)
    assert (label_map[20:23, 20:23, 20:23] == label).all()
    np.testing.assert_array_equal(label_map[:16], whole[:16])
    assert found == changes


def test_sizes_apply_from_the_outermost_region_inwards():
    rules = PostprocessRules(min_component_voxels={"WT": 28, "TC": 28, "ET": 28})
    label_map = cleaned(two_nested_tumours(small=3), rules)
    assert not label_map[20:, 20:, 20:].any()


def test_sizes_apply_before_the_total_is_counted():
    # 60 doubtful and 27 sure voxels are enough together (87); without the 27, the doubtful ones are too few.
    probabilities = put_et(put_et(head(), 60, 0.6, at=(2, 2)), 27, 1.0, at=(2, 20))
    assert n_labelled(cleaned(probabilities, RULES), Label.ET) == 87
    rules = PostprocessRules(min_component_voxels={**NO_SIZES, "ET": 28})
    assert n_labelled(cleaned(probabilities, rules), Label.ET) == 0


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_flipping_the_probabilities_flips_the_label_map(axes: tuple[int, ...], rng: np.random.Generator):
    probabilities = rng.random((3, *SHAPE), dtype=np.float32) ** 6
    rules = PostprocessRules(min_component_voxels={"WT": 3, "TC": 2, "ET": 2})
    flipped = cleaned(np.flip(probabilities, [axis + 1 for axis in axes]), rules)
    np.testing.assert_array_equal(flipped, np.flip(cleaned(probabilities, rules), axes))


def ring_of_core(*, open_at: int | None = None) -> np.ndarray:
    """Probabilities of a tube of TC along K around oedema, with a gap in slice `open_at` if given."""
    probabilities = head(wt=0.9)
    core = np.zeros(SHAPE, bool)
    core[8:16, 8:16, 10:14] = True
    core[10:14, 10:14, 10:14] = False
    if open_at is not None:
        core[8:10, 11, open_at] = False
    probabilities[1][core] = 0.9
    return probabilities


def test_what_a_region_surrounds_in_an_axial_slice_joins_it():
    label_map, changes = counted(ring_of_core(), PostprocessRules(filled_regions=["TC"]))
    assert (label_map[8:16, 8:16, 10:14] == Label.NCR).all()
    assert n_labelled(label_map, Label.NCR) == 8 * 8 * 4
    assert changes == Changes({Label.NCR: 4 * 4 * 4})


@pytest.mark.parametrize(
    ("regions", "filled", "rim", "inner"),
    [(WITH_CAVITY, "ET", Label.ET, Label.RC), (PAEDIATRIC, "ED", Label.ED, Label.NCR)],
    ids=["cavity in a rim", "core in oedema"],
)
def test_what_is_written_later_than_a_region_stays_inside_it(regions: RegionSet, filled: str, rim: Label, inner: Label):
    label_map = np.zeros(SHAPE, np.uint8)
    label_map[8:16, 8:16, 10:14] = rim
    label_map[10:14, 10:14, 10:14] = inner
    np.testing.assert_array_equal(with_filled_holes(label_map, regions, [filled]), label_map)


def test_a_ring_that_is_open_in_a_slice_is_not_filled_there():
    label_map = cleaned(ring_of_core(open_at=12), PostprocessRules(filled_regions=["TC"]))
    assert (label_map[10:14, 10:14, 12] == Label.ED).all()
    assert (label_map[10:14, 10:14, [10, 11, 13]] == Label.NCR).all()


def test_holes_stay_by_default():
    assert n_labelled(cleaned(ring_of_core(), RULES), Label.NCR) == (8 * 8 - 4 * 4) * 4


def test_what_is_nested_in_a_hole_stays():
    probabilities = ring_of_core()
    probabilities[:, 11:13, 11:13, 10:14] = 0.95
    label_map = cleaned(
        probabilities, PostprocessRules(filled_regions=["WT", "TC"], et_component_voxels=0, et_total_voxels=0)
    )
    assert (label_map[11:13, 11:13, 10:14] == Label.ET).all()


def test_probabilities_below_all_thresholds_leave_an_empty_label_map():
    label_map, changes = counted(head(wt=0.49), RULES)
    assert label_map.shape == SHAPE
    assert label_map.dtype == np.uint8
    assert not label_map.any()
    assert changes == Changes({})


def test_a_tumour_without_et_is_left_alone():
    probabilities = head(wt=0.8)
    label_map, changes = counted(probabilities, RULES)
    np.testing.assert_array_equal(label_map, np.where(probabilities[0] > 0, Label.ED, Label.BACKGROUND))
    assert changes == Changes({})


def test_et_everywhere_stays_everywhere():
    assert (cleaned(np.ones((3, *SHAPE), np.float32), RULES) == Label.ET).all()


def test_the_probabilities_are_not_changed(rng: np.random.Generator):
    probabilities = rng.random((3, *SHAPE), dtype=np.float32)
    before = probabilities.copy()
    cleaned(probabilities, RULES)
    np.testing.assert_array_equal(probabilities, before)


def test_rules_survive_a_round_trip_through_json():
    rules = PostprocessRules(thresholds={"WT": 0.4, "TC": 0.5, "ET": 0.6}, et_total_voxels=100)
    assert PostprocessRules.from_json(json.loads(json.dumps(asdict(rules))), where="manifest.json") == rules
    assert rules != RULES


def test_an_empty_json_object_is_the_default_rules():
    assert PostprocessRules.from_json({}, where="manifest.json") == RULES


def test_an_unknown_field_lists_the_known_ones():
    with pytest.raises(
        SettingsError, match=r"manifest\.json: unknown .* 'et_totl'; expected one of thresholds, .*mean 'et_total_"
    ):
        PostprocessRules.from_json({"et_totl": 73}, where="manifest.json")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"thresholds": {"WTC": 0.5, "TC": 0.5}},
            "unknown region in thresholds 'WTC'; expected one of WT, TC, ET, NET",
        ),
        ({"min_component_voxels": {"CSF": 1}}, "unknown region in min_component_voxels 'CSF'; expected one of WT, TC"),
        ({"thresholds": [0.5, 0.5]}, r"thresholds is not a table by region; found \[0.5, 0.5\], expected a number for"),
        ({"thresholds": {"WT": 0.0}}, "thresholds of WT is impossible; found 0.0, expected a number from 1e-06 to 1.0"),
        ({"thresholds": {"TC": 1.5}}, "thresholds of TC is impossible; found 1.5, expected a number from"),
        ({"thresholds": {"ET": "half"}}, "thresholds of ET is impossible; found 'half'"),
        ({"thresholds": {"WT": float("nan")}}, "thresholds of WT is impossible; found nan"),
        ({"thresholds": {"WT": True}}, "thresholds of WT is impossible; found True"),
        (
            {"min_component_voxels": {"WT": -1}},
            "min_component_voxels of WT is impossible; found -1, expected .* 0 or more",
        ),
        ({"et_component_voxels": -16}, "et_component_voxels is impossible; found -16"),
        ({"et_total_voxels": None}, "et_total_voxels is impossible; found None"),
        ({"et_component_mean": 90}, "et_component_mean is impossible; found 90, expected a number from 0.0 to 1.0"),
        ({"et_total_mean": -0.1}, "et_total_mean is impossible; found -0.1"),
        ({"et_least_mean": 1.5}, "et_least_mean is impossible; found 1.5"),
        ({"filled_regions": ["TCC"]}, "unknown region in filled_regions 'TCC'; expected one of WT, TC"),
        ({"filled_regions": "TC"}, "filled_regions is not a list of regions; found 'TC', expected names of"),
        ({"filled_regions": ["TC", "TC"]}, r"filled_regions is not a list of regions; found \['TC', 'TC'\]"),
        ({"filled_regions": [["TC"]]}, "filled_regions is not a list of regions; found"),
    ],
    ids=lambda part: str(part)[:40] if isinstance(part, dict) else "",
)
def test_impossible_rules_are_refused(settings: dict, message: str):
    with pytest.raises(SettingsError, match=message):
        PostprocessRules(**settings)
    with pytest.raises(SettingsError, match=r"manifest\.json: post-processing: "):
        PostprocessRules.from_json(settings, where="manifest.json")


def test_rules_for_regions_that_the_set_lacks_are_refused():
    rules = PostprocessRules(thresholds={"RC": 0.4}, min_component_voxels={"ET": 3})
    rules.require_regions(REGION_SETS["wt-tc-et-rc"])
    with pytest.raises(SettingsError, match="unknown region in thresholds 'RC'; expected one of WT, TC, ET"):
        rules.require_regions(GLIOMA)
    with pytest.raises(SettingsError, match="unknown region in min_component_voxels 'WT'; expected one of ED, NET, CC"):
        PostprocessRules(min_component_voxels={"WT": 3}).require_regions(PAEDIATRIC)
    with pytest.raises(SettingsError, match="unknown region in filled_regions 'TC'; expected one of ED, NET, CC"):
        PostprocessRules(filled_regions=["TC"]).require_regions(PAEDIATRIC)


def test_regions_that_the_rules_do_not_name_have_the_defaults():
    rules = PostprocessRules(thresholds={"WT": 0.4}, min_component_voxels={"TC": 9})
    assert [rules.threshold(region) for region in GLIOMA.regions] == [0.4, 0.5, 0.5]
    assert [rules.min_voxels(region) for region in GLIOMA.regions] == [0, 9, 0]


def columns(*values: list[float]) -> np.ndarray:
    """(R, 1, 1, K) float32 probabilities, one list per region."""
    return np.array(values, np.float32)[:, None, None, :]


def test_a_cavity_is_written_over_the_tumour_by_hand():
    probabilities = columns([0.9, 0.9, 0.9, 0.9, 0.1], [0, 0.9, 0.9, 0.9, 0], [0, 0, 1, 1, 0], [0, 0, 0, 0.5, 0.6])
    label_map, changes = postprocess(probabilities, WITH_CAVITY, PostprocessRules(et_total_voxels=0))
    np.testing.assert_array_equal(label_map.ravel(), [Label.ED, Label.NCR, Label.ET, Label.RC, Label.RC])
    assert changes == Changes({})


def test_a_small_cavity_becomes_background_and_the_tumour_stays():
    probabilities = np.zeros((4, *SHAPE), np.float32)
    probabilities[0, 2:14, 2:14, 2:14] = 1
    probabilities[3, 20:23, 20:23, 20:23] = 1
    kept, _ = postprocess(probabilities, WITH_CAVITY, PostprocessRules(min_component_voxels={"RC": 27}))
    assert n_labelled(kept, Label.RC) == 27
    label_map, changes = postprocess(probabilities, WITH_CAVITY, PostprocessRules(min_component_voxels={"RC": 28}))
    assert changes == Changes({Label.BACKGROUND: 27})
    np.testing.assert_array_equal(label_map, np.where(kept == Label.RC, 0, kept))


def test_a_cavity_is_not_part_of_a_component_of_the_whole_tumour():
    probabilities = np.zeros((4, 1, 1, 9), np.float32)
    probabilities[0] = 1
    probabilities[3, ..., 2:6] = 1  # two and three voxels of WT are left on its sides
    rules = PostprocessRules(min_component_voxels={"WT": 3})
    label_map, changes = postprocess(probabilities, WITH_CAVITY, rules)
    np.testing.assert_array_equal(label_map.ravel(), [0, 0, *[Label.RC] * 4, *[Label.ED] * 3])
    assert changes == Changes({Label.BACKGROUND: 2})


def test_paediatric_tissues_by_hand():
    # ED, NET, CC, ET in this order: the later is written over the earlier
    probabilities = columns([1, 1, 1, 1, 0, 0], [0, 1, 1, 1, 0, 0.5], [0, 0, 1, 1, 0.6, 0], [0, 0, 0, 1, 0.4, 0.49])
    label_map, _ = postprocess(probabilities, PAEDIATRIC, PostprocessRules())
    np.testing.assert_array_equal(label_map.ravel(), [Label.ED, Label.NCR, Label.CC, Label.ET, Label.CC, Label.NCR])


def test_doubtful_paediatric_enhancement_becomes_non_enhancing_tumour():
    probabilities = np.zeros((4, *SHAPE), np.float32)
    probabilities[3, 0, 0, :15] = 0.89
    label_map, changes = postprocess(probabilities, PAEDIATRIC, RULES)
    assert n_labelled(label_map, Label.NCR) == 15
    assert changes == Changes({Label.NCR: 15})


@pytest.mark.parametrize(
    ("region", "label", "beneath"),
    [
        (Region.ED, Label.ED, Label.BACKGROUND),
        (Region.NET, Label.NCR, Label.ED),
        (Region.CC, Label.CC, Label.NCR),
        (Region.ET, Label.ET, Label.NCR),
    ],
    ids=lambda part: part.name,
)
def test_a_small_paediatric_component_becomes_what_lies_beneath(region: Region, label: Label, beneath: Label):
    probabilities = np.zeros((4, *SHAPE), np.float32)
    probabilities[PAEDIATRIC.regions.index(region), 4:7, 4:7, 4:7] = 1
    whole, _ = postprocess(probabilities, PAEDIATRIC, PostprocessRules(min_component_voxels={region.name: 27}))
    assert n_labelled(whole, label) == 27
    label_map, changes = postprocess(
        probabilities, PAEDIATRIC, PostprocessRules(min_component_voxels={region.name: 28})
    )
    assert (label_map[4:7, 4:7, 4:7] == beneath).all()
    assert changes == Changes({beneath: 27})


def test_the_rules_on_et_do_nothing_where_the_set_has_no_et():
    only_wt = RegionSet("wt", GLIOMA.strokes[:1])
    label_map, changes = postprocess(np.full((1, 2, 2, 2), 0.6, np.float32), only_wt, RULES)
    assert (label_map == Label.ED).all()
    assert changes == Changes({})


@pytest.mark.parametrize("regions", REGION_SETS.values(), ids=REGION_SETS)
def test_agreeing_probabilities_of_every_set_compose_the_cleaned_label_map(
    regions: RegionSet, rng: np.random.Generator
):
    probabilities = rng.random((len(regions.regions), *SHAPE), np.float32) ** 2
    sizes = {region.name: 4 for region in regions.regions}
    rules = PostprocessRules(thresholds={"ET": 0.7}, min_component_voxels=sizes)
    label_map, changes = postprocess(probabilities, regions, rules)
    agreed = agreeing(probabilities, label_map, regions, rules)
    assert changes.n_voxels > 0
    np.testing.assert_array_equal(regions.compose(agreed >= 0.5), label_map)


def test_agreeing_probabilities_cut_at_a_half_are_the_cleaned_regions(rng: np.random.Generator):
    rules = PostprocessRules(thresholds={"WT": 0.3, "TC": 0.5, "ET": 0.7})
    probabilities = rng.random((3, *SHAPE), np.float32)
    label_map = cleaned(probabilities, rules)
    agreed = agree(probabilities, label_map, rules)
    expected = np.stack([region_mask(label_map, region) for region in GLIOMA.regions])
    np.testing.assert_array_equal(agreed >= 0.5, expected)
    assert agreed.dtype == np.float32
    assert agreed.min() >= 0
    assert agreed.max() <= 1


def test_agreeing_probabilities_are_unchanged_at_a_threshold_of_a_half_if_nothing_was_cleaned():
    probabilities = head(wt=0.8)
    np.testing.assert_allclose(agree(probabilities, cleaned(probabilities, RULES), RULES), probabilities)


def test_what_was_cleaned_no_longer_reaches_the_cut():
    probabilities = put_et(head(), 8, 0.6)
    agreed = agree(probabilities, cleaned(probabilities, RULES), RULES)
    assert agreed[2].max() < 0.5
    assert agreed[1].max() == 1


@pytest.mark.parametrize(("threshold", "p", "expected"), [(0.8, 0.4, 0.25), (0.8, 0.9, 0.75), (0.2, 0.6, 0.75)])
def test_a_threshold_moves_to_a_half(threshold: float, p: float, expected: float):
    rules = PostprocessRules(thresholds={"WT": threshold, "TC": 0.5, "ET": 0.5})
    probabilities = head(wt=p)
    agreed = agree(probabilities, cleaned(probabilities, rules), rules)
    assert agreed[0, 0, 0, 0] == pytest.approx(expected)


def test_a_threshold_of_one_includes_what_is_certain():
    rules = PostprocessRules(thresholds={"WT": 1.0, "TC": 0.5, "ET": 0.5})
    probabilities = head(wt=1.0)
    assert agree(probabilities, cleaned(probabilities, rules), rules)[0, 0, 0, 0] == 0.5
