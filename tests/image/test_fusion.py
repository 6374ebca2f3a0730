"""Fusion: STAPLE against a hand-worked step and SimpleITK, votes, means, and members that found nothing."""

import itertools
import pickle
from typing import Any

import numpy as np
import pytest
from itk_staple import assert_as_itk, assert_masks_as_itk, fuse_masks

from htcnns.errors import SettingsError
from htcnns.image import fusion
from htcnns.image.fusion import FUSIONS, Fused, require_fusable
from htcnns.labels import GLIOMA, REGION_SETS, Label, Region, RegionSet, region_mask

SHAPE = (32, 32, 32)
WITH_CAVITY, PAEDIATRIC = REGION_SETS["wt-tc-et-rc"], REGION_SETS["et-net-cc-ed"]
METHODS = pytest.mark.parametrize("method", sorted(FUSIONS))
VOTES = pytest.mark.parametrize("method", ["staple", "majority"])


def ball(*, radius: float, centre: tuple[int, int, int] = (16, 16, 16)) -> np.ndarray:
    offsets = np.indices(SHAPE) - np.reshape(centre, (3, 1, 1, 1))
    return np.square(offsets).sum(axis=0) <= radius**2


def tumour(*, centre: tuple[int, int, int] = (16, 16, 16)) -> np.ndarray:
    label_map = np.zeros(SHAPE, np.uint8)
    label_map[ball(radius=9, centre=centre)] = Label.ED
    label_map[ball(radius=6, centre=centre)] = Label.ET
    label_map[ball(radius=3, centre=centre)] = Label.NCR
    return label_map


def fuse(label_maps: np.ndarray, regions: RegionSet = GLIOMA, **how: Any) -> Fused:
    return fusion.fuse(label_maps, regions, **how)


def without_et(label_map: np.ndarray) -> np.ndarray:
    return np.where(label_map == Label.ET, np.uint8(Label.NCR), label_map)


def shares(label_maps: np.ndarray) -> np.ndarray:
    """Probabilities 0.9 inside each member's regions and 0.1 outside."""
    masks = [[region_mask(label_map, region) for region in GLIOMA.regions] for label_map in label_maps]
    return np.where(np.array(masks), np.float32(0.9), np.float32(0.1))


@pytest.fixture
def label_maps() -> np.ndarray:
    return np.stack([tumour(centre=centre) for centre in [(16, 16, 16), (17, 16, 16), (16, 15, 17)]])


def noisy_masks(rng: np.random.Generator, n_members: int) -> np.ndarray:
    truth = ball(radius=rng.uniform(3, 12))
    wrong = rng.random((n_members, *SHAPE)) < rng.uniform(0.001, 0.2, (n_members, 1, 1, 1))
    return truth ^ wrong


def test_two_of_three_who_agree_on_one_voxel_of_four_are_believed():
    masks = np.array([[1, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]], bool).reshape(3, 4, 1, 1)
    found = fuse_masks(masks)
    np.testing.assert_allclose(found.probability(Region.WT).ravel(), [1, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found.sensitivity[:, 0], [1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(found.specificity[:, 0], [1, 1, 2 / 3], atol=1e-6)


def test_one_empty_mask_of_two_leaves_staple_at_its_start_worked_by_hand():
    # W0 = 1/2 in one voxel of ten, so the prior is 1/20; p = 1 and 0, q = 9/9.5 and 1.
    # W1 = .05 * 1 / (.05 * 1 + .95 * .5/9.5) = 1/2 again.
    masks = np.zeros((2, 10, 1, 1), bool)
    masks[0, 3] = True
    found = fuse_masks(masks)
    assert found.probability(Region.WT)[3, 0, 0] == np.float32(0.5)
    np.testing.assert_allclose(found.sensitivity[:, 0], [1, 0], atol=1e-12)
    np.testing.assert_allclose(found.specificity[:, 0], [9 / 9.5, 1], atol=1e-12)


@pytest.mark.parametrize("n_members", range(1, 8))
def test_staple_equals_simpleitk_on_noisy_balls(n_members: int, rng: np.random.Generator):
    masks = noisy_masks(rng, n_members)
    assert_masks_as_itk(masks)


@pytest.mark.parametrize("density", [0.02, 0.3, *(pytest.param(d, marks=pytest.mark.slow) for d in (0.5, 0.8))])
def test_staple_equals_simpleitk_on_random_masks(density: float, rng: np.random.Generator):
    masks = rng.random((4, 9, 7, 5)) < density
    assert_masks_as_itk(masks)


@pytest.mark.parametrize(
    "centres",
    [[(8, 8, 8), (24, 24, 24)], [(8, 8, 8), (24, 24, 24), (8, 24, 8)], [(8, 8, 8), (9, 8, 8), (24, 24, 24)]],
    ids=["two-apart", "three-apart", "two-together-one-apart"],
)
def test_staple_equals_simpleitk_on_balls_apart(centres: list[tuple[int, int, int]]):
    masks = np.stack([ball(radius=4, centre=centre) for centre in centres])
    assert_masks_as_itk(masks)


def test_staple_equals_simpleitk_with_an_empty_and_with_a_full_mask():
    masks = np.stack([ball(radius=5), ball(radius=6), np.zeros(SHAPE, bool), np.ones(SHAPE, bool)])
    assert_masks_as_itk(masks[:3])
    assert_masks_as_itk(masks[[0, 1, 3]])
    assert_masks_as_itk(masks)


@pytest.mark.parametrize(("n_members", "n_voxels"), [(2, 3), (3, 2)])
def test_staple_of_every_possible_vote_is_a_probability(n_members: int, n_voxels: int):
    every = np.array(list(itertools.product([False, True], repeat=6))).reshape(64, n_members, n_voxels, 1, 1)
    found = np.stack([fuse_masks(masks).probabilities for masks in every])
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_staple_that_has_not_converged_says_so(label_maps: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fusion, "MAX_ITERATIONS", 2)
    assert fuse(label_maps).notes[0] == "WT: STAPLE had not converged after 2 iterations."


def test_staple_of_empty_masks_is_zero_and_has_no_sensitivity():
    found = fuse_masks(np.zeros((3, *SHAPE), bool))
    assert not found.probabilities.any()
    assert np.isnan(found.sensitivity).all()
    assert (found.specificity == 1).all()


def test_staple_of_full_masks_is_one_and_has_no_specificity():
    found = fuse_masks(np.ones((3, *SHAPE), bool))
    assert (found.probabilities == 1).all()
    assert (found.sensitivity == 1).all()
    assert np.isnan(found.specificity).all()


def test_staple_departs_from_the_majority_where_one_rater_is_poor(rng: np.random.Generator):
    masks = noisy_masks(rng, 5)
    masks[0] = rng.random(SHAPE) < 0.5
    majority = masks.mean(axis=0) >= 0.5
    assert not np.array_equal(fuse_masks(masks).probability(Region.WT) >= 0.5, majority)


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)], ids=str)
def test_fusing_flipped_members_flips_the_result(axes: tuple[int, ...], label_maps: np.ndarray):
    flipped = fuse(np.flip(label_maps, [axis + 1 for axis in axes]))
    np.testing.assert_array_equal(flipped.label_map, np.flip(fuse(label_maps).label_map, axes))


@METHODS
def test_reordering_members_reorders_their_rates_and_nothing_else(method: str, label_maps: np.ndarray):
    order = [2, 0, 1]
    given = fuse(label_maps, method=method, probabilities=shares(label_maps))
    turned = fuse(label_maps[order], method=method, probabilities=shares(label_maps[order]))
    np.testing.assert_array_equal(turned.label_map, given.label_map)
    np.testing.assert_allclose(turned.sensitivity, given.sensitivity[order], rtol=0, atol=1e-12)


@METHODS
def test_one_member_alone_is_returned(method: str):
    alone = tumour()[None]
    fused = fuse(alone, method=method, probabilities=shares(alone))
    np.testing.assert_array_equal(fused.label_map, alone[0])
    assert (fused.sensitivity == 1).all()
    assert (fused.specificity == 1).all()
    assert fused.notes == ()


@METHODS
def test_members_who_agree_fuse_to_their_label_map(method: str):
    same = np.stack([tumour()] * 3)
    np.testing.assert_array_equal(fuse(same, method=method, probabilities=shares(same)).label_map, same[0])


@pytest.mark.parametrize("region", GLIOMA.regions, ids=lambda region: region.name)
def test_each_region_of_label_maps_is_fused_as_simpleitk_fuses_its_masks(region: Region, label_maps: np.ndarray):
    fused = fuse(label_maps)
    assert fused.probability(region).dtype == np.float32
    assert_as_itk(fused, region_mask(label_maps, region), region)


@METHODS
def test_probabilities_are_those_of_each_region_in_order(method: str, label_maps: np.ndarray):
    fused = fuse(label_maps, method=method, probabilities=shares(label_maps))
    assert fused.probabilities.dtype == np.float32
    each = [fused.probability(region) for region in (Region.WT, Region.TC, Region.ET)]
    np.testing.assert_array_equal(fused.probabilities, each)


@METHODS
def test_a_fusion_pickles(method: str, label_maps: np.ndarray):
    fused = fuse(label_maps, method=method, probabilities=shares(label_maps))
    copy = pickle.loads(pickle.dumps(fused))
    np.testing.assert_array_equal(copy.label_map, fused.label_map)
    np.testing.assert_array_equal(copy.probabilities, fused.probabilities)
    assert copy.notes == fused.notes
    assert copy.regions == GLIOMA


@METHODS
def test_fused_values_are_read_only(method: str, label_maps: np.ndarray):
    fused = fuse(label_maps, method=method, probabilities=shares(label_maps))
    with pytest.raises(ValueError, match="read-only"):
        fused.values[0] = 0


def test_majority_is_the_share_of_votes_and_rates_are_measured_against_it(label_maps: np.ndarray):
    fused = fuse(label_maps, method="majority")
    votes = np.stack([region_mask(label_maps, region).mean(axis=0) for region in GLIOMA.regions])
    np.testing.assert_allclose(fused.probabilities, votes, atol=1e-7)
    et, won = region_mask(label_maps[1], Region.ET), votes[2] >= 0.5
    assert fused.sensitivity[1, 2] == pytest.approx((et & won).sum() / won.sum(), abs=1e-12)
    assert fused.specificity[1, 2] == pytest.approx((~et & ~won).sum() / (~won).sum(), abs=1e-12)


def test_mean_of_certain_probabilities_has_the_label_map_and_rates_of_the_majority(label_maps: np.ndarray):
    mean = fuse(label_maps, method="mean", probabilities=shares(label_maps))
    majority = fuse(label_maps, method="majority")
    np.testing.assert_array_equal(mean.label_map, majority.label_map)
    np.testing.assert_allclose(mean.sensitivity, majority.sensitivity, rtol=0, atol=1e-12)
    np.testing.assert_allclose(mean.specificity, majority.specificity, rtol=0, atol=1e-12)


def test_a_sure_member_outweighs_two_doubtful_ones_in_the_mean():
    label_maps = np.stack([tumour(), np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)])
    probabilities = np.where(shares(label_maps) > 0.5, np.float32(1), np.float32(0))
    probabilities[1:] = np.where(probabilities[:1] > 0.5, np.float32(0.3), np.float32(0))
    np.testing.assert_array_equal(fuse(label_maps, method="mean", probabilities=probabilities).label_map, label_maps[0])


@pytest.mark.slow
@METHODS
def test_regions_nest_where_members_disagree_about_every_label(method: str, rng: np.random.Generator):
    label_maps = rng.integers(0, 4, (5, 12, 12, 12)).astype(np.uint8)
    fused = fuse(label_maps, method=method, probabilities=shares(label_maps))
    wt, tc, et = (region_mask(fused.label_map, region) for region in GLIOMA.regions)
    assert (tc <= wt).all()
    assert (et <= tc).all()
    np.testing.assert_array_equal(et, fused.probabilities[2] >= 0.5)
    np.testing.assert_array_equal(wt, (fused.probabilities >= 0.5).any(axis=0))


@VOTES
@pytest.mark.parametrize("empty", [0, 1, 2])
def test_one_member_without_et_does_not_take_it_from_two_who_agree(method: str, empty: int):
    label_maps = np.stack([tumour()] * 3)
    label_maps[empty] = without_et(label_maps[empty])
    fused = fuse(label_maps, method=method)
    np.testing.assert_array_equal(fused.label_map, tumour())
    n_voxels = (tumour() == Label.ET).sum()
    assert fused.notes == (f"ET: nothing from member {empty + 1} (of 3); the fused region has {n_voxels} voxels.",)


@VOTES
def test_et_of_one_member_in_three_is_rejected_and_noted(method: str):
    fused = fuse(np.stack([tumour(), without_et(tumour()), without_et(tumour())]), method=method)
    np.testing.assert_array_equal(fused.label_map, without_et(tumour()))
    np.testing.assert_allclose(fused.probabilities[2].max(), 1 / 3, atol=1e-6)
    assert fused.notes == ("ET: nothing from member 2 and member 3 (of 3); the fused region is empty.",)


def test_a_member_that_found_nothing_is_named():
    fused = fuse(np.stack([tumour(), without_et(tumour())]), names=("unet", "transbts"))
    assert fused.notes[0].startswith("ET: nothing from transbts (of 2); ")


@VOTES
def test_a_tie_of_two_members_is_included_and_noted(method: str):
    fused = fuse(np.stack([tumour(), without_et(tumour())]), method=method)
    np.testing.assert_array_equal(fused.label_map, tumour())
    n_voxels = (tumour() == Label.ET).sum()
    assert f"ET: voxels at exactly 0.5, which were included: {n_voxels}." in fused.notes


@VOTES
def test_members_without_a_voxel_in_common_give_an_empty_map_and_say_so(method: str):
    apart = np.zeros((3, *SHAPE), np.uint8)
    apart[[0, 1, 2], [4, 16, 28]] = Label.ET
    fused = fuse(apart, method=method)
    assert not fused.label_map.any()
    assert fused.notes[0] == "WT: the members agree on no voxel; the fused region is empty."


@METHODS
def test_empty_members_give_an_empty_map_and_a_note_per_region(method: str):
    nothing = np.zeros((3, *SHAPE), np.uint8)
    fused = fuse(nothing, method=method, probabilities=shares(nothing))
    assert not fused.label_map.any()
    assert np.isnan(fused.sensitivity).all()
    assert (fused.specificity == 1).all()
    assert fused.notes == tuple(
        f"{r.name}: no member marks a voxel; the fused region is empty." for r in GLIOMA.regions
    )


@METHODS
def test_members_full_of_et_give_a_full_map(method: str):
    full = np.full((3, *SHAPE), Label.ET, np.uint8)
    fused = fuse(full, method=method, probabilities=shares(full))
    assert (fused.label_map == Label.ET).all()
    assert np.isnan(fused.specificity).all()


@METHODS
def test_a_tumour_at_the_edges_of_the_volume_stays_there(method: str):
    corner = np.stack([tumour(centre=(0, 31, 0))] * 2)
    np.testing.assert_array_equal(fuse(corner, method=method, probabilities=shares(corner)).label_map, corner[0])


def test_a_cavity_is_not_a_vote_for_any_region_of_a_glioma():
    cavity = np.full((2, *SHAPE), Label.RC, np.uint8)
    assert not fuse(cavity).label_map.any()


def lines(*members: list[int]) -> np.ndarray:
    """(n_members, 1, 1, K) uint8 label maps."""
    return np.array(members, np.uint8)[:, None, None, :]


@VOTES
def test_a_cavity_that_two_of_three_see_is_written_over_the_tumour(method: str):
    nothing, ncr, ed, et, rc = (int(label) for label in (Label.BACKGROUND, Label.NCR, Label.ED, Label.ET, Label.RC))
    fused = fuse(
        lines([ed, ncr, et, rc, rc, nothing], [ed, ncr, et, rc, et, nothing], [ed, ed, rc, ed, rc, nothing]),
        WITH_CAVITY,
        method=method,
    )
    np.testing.assert_array_equal(fused.label_map.ravel(), [ed, ncr, et, rc, rc, nothing])
    assert fused.sensitivity.shape == (3, 4)


def test_votes_on_a_cavity_by_hand():
    fused = fuse(lines([Label.RC, Label.RC, 0, 0], [Label.RC, Label.ED, 0, 0]), WITH_CAVITY, method="majority")
    np.testing.assert_array_equal(fused.probability(Region.RC).ravel(), [1, 0.5, 0, 0])
    np.testing.assert_array_equal(fused.probability(Region.WT).ravel(), [0, 0.5, 0, 0])
    np.testing.assert_array_equal(fused.label_map.ravel(), [Label.RC, Label.RC, 0, 0])  # RC is written last
    np.testing.assert_array_equal(fused.sensitivity[:, 3], [1, 0.5])
    np.testing.assert_array_equal(fused.specificity[:, 0], [1, 1])
    assert fused.notes[-1] == "RC: voxels at exactly 0.5, which were included: 1."


@VOTES
def test_paediatric_tissues_of_three_members_by_hand(method: str):
    nothing, net, ed, et, cc = (int(label) for label in (Label.BACKGROUND, Label.NCR, Label.ED, Label.ET, Label.CC))
    fused = fuse(
        lines([ed, net, cc, et, net, nothing], [ed, net, cc, et, cc, nothing], [ed, ed, et, net, cc, nothing]),
        PAEDIATRIC,
        method=method,
    )
    np.testing.assert_array_equal(fused.label_map.ravel(), [ed, net, cc, et, cc, nothing])
    assert fused.regions.regions == (Region.ED, Region.NET, Region.CC, Region.ET)


def test_the_share_of_paediatric_votes_by_hand():
    fused = fuse(lines([Label.CC, Label.CC, 0], [Label.CC, Label.NCR, 0]), PAEDIATRIC, method="majority")
    np.testing.assert_array_equal(fused.probabilities[:, 0, 0], [[0, 0, 0], [0, 0.5, 0], [1, 0.5, 0], [0, 0, 0]])
    np.testing.assert_array_equal(fused.label_map.ravel(), [Label.CC, Label.CC, 0])
    assert fused.notes == (
        "ED: no member marks a voxel; the fused region is empty.",
        "NET: nothing from member 1 (of 2); the fused region has 1 voxel.",
        "NET: voxels at exactly 0.5, which were included: 1.",
        "CC: voxels at exactly 0.5, which were included: 1.",
        "ET: no member marks a voxel; the fused region is empty.",
    )


@pytest.mark.parametrize("regions", [WITH_CAVITY, PAEDIATRIC], ids=lambda regions: regions.name)
def test_each_region_of_a_larger_set_is_fused_as_simpleitk_fuses_its_masks(
    regions: RegionSet, rng: np.random.Generator
):
    truth = rng.choice([0, 0, *regions.labels], (9, 10, 11)).astype(np.uint8)
    other = rng.choice([0, *regions.labels], (4, 9, 10, 11)).astype(np.uint8)
    label_maps = np.where(rng.random((4, 9, 10, 11)) < 0.2, other, truth)
    fused = fuse(label_maps, regions)
    assert_as_itk(fused, region_mask(label_maps, regions.regions[0]), regions.regions[0])
    assert_as_itk(fused, region_mask(label_maps, regions.regions[3]), regions.regions[3])


@METHODS
@pytest.mark.parametrize("regions", REGION_SETS.values(), ids=REGION_SETS)
def test_agreeing_members_of_every_set_fuse_to_their_map(method: str, regions: RegionSet, rng: np.random.Generator):
    label_map = rng.choice([0, *regions.labels], SHAPE).astype(np.uint8)
    same = np.stack([label_map] * 3)
    sure = np.stack([[region_mask(label_map, region) for region in regions.regions]] * 3).astype(np.float32)
    np.testing.assert_array_equal(fuse(same, regions, method=method, probabilities=sure).label_map, label_map)


@pytest.mark.parametrize(
    ("regions", "most"), [(GLIOMA, 8), (WITH_CAVITY, 5), (PAEDIATRIC, 5)], ids=lambda part: getattr(part, "name", "")
)
def test_as_many_members_as_allowed_are_fused_and_one_more_is_refused(regions: RegionSet, most: int):
    many = np.stack([tumour()] * (most + 1))
    np.testing.assert_array_equal(fuse(many[:most], regions).label_map, tumour())
    message = f"^members: .* cannot be fused; found {most + 1}, expected 1 to {most} with the regions {regions.name}"
    with pytest.raises(SettingsError, match=message):
        fuse(many, regions)
    with pytest.raises(SettingsError, match=message):
        require_fusable(most + 1, regions)


def test_zero_members_are_refused():
    with pytest.raises(SettingsError, match="cannot be fused; found 0, expected 1 to 8"):
        fuse(np.zeros((0, *SHAPE), np.uint8))


def test_an_unknown_method_lists_the_known_ones(label_maps: np.ndarray):
    with pytest.raises(SettingsError, match="unknown fusion 'best'; expected one of staple, majority, mean"):
        fuse(label_maps, method="best")


def test_the_mean_without_probabilities_says_what_it_needs(label_maps: np.ndarray):
    with pytest.raises(
        SettingsError,
        match=r"^fusion: the mean needs probabilities; found label maps only, expected \(3, 3, I, J, K\)",
    ):
        fuse(label_maps, method="mean")
