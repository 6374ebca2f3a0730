"""Fusion: STAPLE against a hand-worked step and SimpleITK, votes, means, and members that found nothing."""

import itertools

import numpy as np
import pytest
from itk_staple import assert_as_itk

from htcnns.errors import SettingsError
from htcnns.image import fusion
from htcnns.image.fusion import FUSIONS, MAX_MEMBERS, fuse, staple
from htcnns.labels import REGIONS, Label, Region, region_mask

SHAPE = (32, 32, 32)
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


def without_et(label_map: np.ndarray) -> np.ndarray:
    return np.where(label_map == Label.ET, np.uint8(Label.NCR), label_map)


def shares(label_maps: np.ndarray) -> np.ndarray:
    """Probabilities 0.9 inside each member's regions and 0.1 outside."""
    masks = [[region_mask(label_map, region) for region in REGIONS] for label_map in label_maps]
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
    found = staple(masks)
    np.testing.assert_allclose(found.probability.ravel(), [1, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found.sensitivity, [1, 1, 0], atol=1e-6)
    np.testing.assert_allclose(found.specificity, [1, 1, 2 / 3], atol=1e-6)


def test_one_empty_mask_of_two_leaves_staple_at_its_start_worked_by_hand():
    # W0 = 1/2 in one voxel of ten, so the prior is 1/20; p = 1 and 0, q = 9/9.5 and 1.
    # W1 = .05 * 1 / (.05 * 1 + .95 * .5/9.5) = 1/2 again.
    masks = np.zeros((2, 10, 1, 1), bool)
    masks[0, 3] = True
    found = staple(masks)
    assert found.probability[3, 0, 0] == np.float32(0.5)
    np.testing.assert_allclose(found.sensitivity, [1, 0], atol=1e-12)
    np.testing.assert_allclose(found.specificity, [9 / 9.5, 1], atol=1e-12)


@pytest.mark.parametrize("n_members", range(1, 8))
def test_staple_is_simpleitks_on_noisy_balls(n_members: int, rng: np.random.Generator):
    masks = noisy_masks(rng, n_members)
    assert_as_itk(staple(masks), masks)


@pytest.mark.parametrize("density", [0.02, 0.3, 0.5, 0.8])
def test_staple_is_simpleitks_on_masks_without_any_truth(density: float, rng: np.random.Generator):
    masks = rng.random((4, 9, 7, 5)) < density
    assert_as_itk(staple(masks), masks)


@pytest.mark.parametrize(
    "centres",
    [[(8, 8, 8), (24, 24, 24)], [(8, 8, 8), (24, 24, 24), (8, 24, 8)], [(8, 8, 8), (9, 8, 8), (24, 24, 24)]],
    ids=["two-apart", "three-apart", "two-together-one-apart"],
)
def test_staple_is_simpleitks_on_balls_apart(centres: list[tuple[int, int, int]]):
    masks = np.stack([ball(radius=4, centre=centre) for centre in centres])
    assert_as_itk(staple(masks), masks)


def test_staple_is_simpleitks_with_one_empty_and_with_one_full_mask():
    masks = np.stack([ball(radius=5), ball(radius=6), np.zeros(SHAPE, bool), np.ones(SHAPE, bool)])
    assert_as_itk(staple(masks[:3]), masks[:3])
    assert_as_itk(staple(masks[[0, 1, 3]]), masks[[0, 1, 3]])
    assert_as_itk(staple(masks), masks)


@pytest.mark.parametrize(("n_members", "n_voxels"), [(2, 3), (3, 2)])
def test_staple_of_every_possible_vote_is_a_probability(n_members: int, n_voxels: int):
    every = np.array(list(itertools.product([False, True], repeat=6))).reshape(64, n_members, n_voxels, 1, 1)
    found = np.stack([staple(masks).probability for masks in every])
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_staple_that_has_not_settled_says_so(label_maps: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fusion, "MAX_ITERATIONS", 2)
    assert fuse(label_maps).notes[0] == "WT: STAPLE had not settled after 2 iterations."


def test_staple_of_empty_masks_is_zero_without_sensitivity():
    found = staple(np.zeros((3, *SHAPE), bool))
    assert not found.probability.any()
    assert np.isnan(found.sensitivity).all()
    assert (found.specificity == 1).all()
    assert found.n_iterations == 0


def test_staple_of_full_masks_is_one_without_specificity():
    found = staple(np.ones((3, *SHAPE), bool))
    assert (found.probability == 1).all()
    assert (found.sensitivity == 1).all()
    assert np.isnan(found.specificity).all()


def test_staple_departs_from_the_majority_where_one_rater_is_poor(rng: np.random.Generator):
    masks = noisy_masks(rng, 5)
    masks[0] = rng.random(SHAPE) < 0.5
    majority = masks.mean(axis=0) >= 0.5
    assert not np.array_equal(staple(masks).probability >= 0.5, majority)


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)], ids=str)
def test_fusing_flipped_members_flips_the_result(axes: tuple[int, ...], label_maps: np.ndarray):
    flipped = fuse(np.flip(label_maps, [axis + 1 for axis in axes]))
    np.testing.assert_array_equal(flipped.label_map, np.flip(fuse(label_maps).label_map, axes))


@METHODS
def test_the_order_of_members_moves_the_rates_and_nothing_else(method: str, label_maps: np.ndarray):
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
def test_members_who_agree_are_returned(method: str):
    same = np.stack([tumour()] * 3)
    np.testing.assert_array_equal(fuse(same, method=method, probabilities=shares(same)).label_map, same[0])


def test_probabilities_are_staple_of_each_region(label_maps: np.ndarray):
    fused = fuse(label_maps)
    assert fused.probabilities.dtype == np.float32
    each = [staple(region_mask(label_maps, region)) for region in REGIONS]
    np.testing.assert_allclose(fused.probabilities, [one.probability for one in each], rtol=0, atol=1e-7)
    np.testing.assert_allclose(fused.sensitivity, np.stack([one.sensitivity for one in each], axis=1), atol=1e-12)
    np.testing.assert_allclose(fused.specificity, np.stack([one.specificity for one in each], axis=1), atol=1e-12)


def test_majority_is_the_share_of_votes_with_rates_against_it(label_maps: np.ndarray):
    fused = fuse(label_maps, method="majority")
    votes = np.stack([region_mask(label_maps, region).mean(axis=0) for region in REGIONS])
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


@METHODS
def test_regions_nest_where_members_disagree_about_every_label(method: str, rng: np.random.Generator):
    label_maps = rng.integers(0, 4, (5, 12, 12, 12)).astype(np.uint8)
    fused = fuse(label_maps, method=method, probabilities=shares(label_maps))
    wt, tc, et = (region_mask(fused.label_map, region) for region in REGIONS)
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
def test_et_of_one_member_among_three_is_not_believed_and_said(method: str):
    fused = fuse(np.stack([tumour(), without_et(tumour()), without_et(tumour())]), method=method)
    np.testing.assert_array_equal(fused.label_map, without_et(tumour()))
    np.testing.assert_allclose(fused.probabilities[2].max(), 1 / 3, atol=1e-6)
    assert fused.notes == ("ET: nothing from member 2 and member 3 (of 3); the fused region is empty.",)


def test_a_member_that_found_nothing_is_called_by_its_name():
    fused = fuse(np.stack([tumour(), without_et(tumour())]), names=("unet", "transbts"))
    assert fused.notes[0].startswith("ET: nothing from transbts (of 2); ")


@VOTES
def test_a_tie_of_two_members_is_counted_in_and_said(method: str):
    fused = fuse(np.stack([tumour(), without_et(tumour())]), method=method)
    np.testing.assert_array_equal(fused.label_map, tumour())
    n_voxels = (tumour() == Label.ET).sum()
    assert f"ET: {n_voxels} voxels stand at exactly 0.5 and were counted in." in fused.notes


@VOTES
def test_members_without_a_voxel_in_common_give_an_empty_map_and_say_so(method: str):
    apart = np.zeros((3, *SHAPE), np.uint8)
    apart[[0, 1, 2], [4, 16, 28]] = Label.ET
    fused = fuse(apart, method=method)
    assert not fused.label_map.any()
    assert fused.notes[0] == "WT: the members agree on no voxel; the fused region is empty."


@METHODS
def test_no_member_with_a_voxel_gives_an_empty_map_and_a_note_for_each_region(method: str):
    nothing = np.zeros((3, *SHAPE), np.uint8)
    fused = fuse(nothing, method=method, probabilities=shares(nothing))
    assert not fused.label_map.any()
    assert np.isnan(fused.sensitivity).all()
    assert (fused.specificity == 1).all()
    assert fused.notes == tuple(f"{r.name}: no member marks a voxel; the fused region is empty." for r in REGIONS)


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


def test_a_cavity_is_no_vote_for_any_region():
    cavity = np.full((2, *SHAPE), Label.RC, np.uint8)
    assert not fuse(cavity).label_map.any()


def test_as_many_members_as_allowed_are_fused_and_one_more_is_refused(label_maps: np.ndarray):
    many = np.repeat(label_maps[:1], MAX_MEMBERS, axis=0)
    np.testing.assert_array_equal(fuse(many).label_map, label_maps[0])
    with pytest.raises(SettingsError, match="9 members to fuse; expected 1 to 8"):
        fuse(np.concatenate([many, label_maps[:1]]))


def test_no_member_is_refused():
    with pytest.raises(SettingsError, match="0 members to fuse"):
        fuse(np.zeros((0, *SHAPE), np.uint8))


def test_an_unknown_method_lists_the_known_ones(label_maps: np.ndarray):
    with pytest.raises(SettingsError, match="unknown fusion 'best'; known are staple, majority, mean"):
        fuse(label_maps, method="best")


def test_the_mean_without_probabilities_says_what_it_needs(label_maps: np.ndarray):
    with pytest.raises(SettingsError, match="--fusion mean: no probabilities"):
        fuse(label_maps, method="mean")
