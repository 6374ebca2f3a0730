"""Votes counted: worked by hand, and compared with the votes themselves."""

import numpy as np
import pytest

from htcnns.image.votes import count_votes, max_members
from htcnns.labels import GLIOMA, REGION_SETS, Label, RegionSet, region_mask

ET = 2  # its place among the regions of a glioma
every_set = pytest.mark.parametrize("regions", REGION_SETS.values(), ids=REGION_SETS)


def marks(label_maps: np.ndarray, regions: RegionSet) -> np.ndarray:
    """(n_members, I, J, K, R) bool."""
    return np.stack([region_mask(label_maps, region) for region in regions.regions], axis=-1)


def test_two_members_counted_by_hand() -> None:
    first = np.array([0, Label.ET, Label.ET, Label.ED, 0, 0], np.uint8).reshape(6, 1, 1)
    second = np.array([0, Label.ET, Label.NCR, 0, 0, Label.RC], np.uint8).reshape(6, 1, 1)
    poll = count_votes(np.stack([first, second]), GLIOMA)
    assert poll.box == (slice(1, 6), slice(0, 1), slice(0, 1))
    n_regions = poll.marks.sum(axis=2)  # of each member in each pattern; the regions nest
    patterns = dict(zip(map(tuple, n_regions.T.tolist()), poll.n_voxels.tolist(), strict=True))
    assert patterns == {(0, 0): 3, (3, 3): 1, (3, 2): 1, (1, 0): 1}
    ballots, which = poll.ballots(ET)
    of_ballots = dict(zip(map(tuple, ballots.votes.T.tolist()), ballots.n_voxels.tolist(), strict=True))
    assert of_ballots == {(False, False): 4, (True, False): 1, (True, True): 1}
    np.testing.assert_array_equal(ballots.votes[:, which], n_regions == 3)


@every_set
@pytest.mark.parametrize("n_members", [1, 2, 3, 4, 5])
def test_spread_patterns_are_the_votes_themselves(n_members: int, regions: RegionSet, rng: np.random.Generator) -> None:
    label_maps = rng.integers(0, len(Label), (n_members, 7, 8, 9)).astype(np.uint8)
    label_maps[:, :2] = label_maps[..., 7:] = 0
    poll = count_votes(label_maps, regions)
    assert poll.n_voxels.sum() == 7 * 8 * 9
    assert (poll.n_voxels > 0).all()
    spread = [[poll.spread(of_region) for of_region in of_member.T] for of_member in poll.marks]
    np.testing.assert_array_equal(np.moveaxis(np.array(spread), 1, -1), marks(label_maps, regions))
    ballots, which = poll.ballots(1)
    shares = poll.spread(ballots.votes.mean(axis=0)[which])
    np.testing.assert_allclose(shares, marks(label_maps, regions)[..., 1].mean(axis=0))
    assert ballots.n_voxels.sum() == 7 * 8 * 9


@pytest.mark.parametrize("label", [Label.BACKGROUND, Label.ET, Label.RC])
def test_one_label_everywhere_is_one_pattern(label: Label) -> None:
    poll = count_votes(np.full((3, 4, 5, 6), label, np.uint8), GLIOMA)
    assert poll.n_voxels.tolist() == [120]
    assert (poll.marks == (label is Label.ET)).all()
    np.testing.assert_array_equal(poll.spread(np.array([7.0], np.float32)), np.full((4, 5, 6), 7, np.float32))


def test_labels_outside_the_set_count_for_the_regions_that_hold_them() -> None:
    poll = count_votes(np.full((1, 2, 2, 2), Label.CC, np.uint8), GLIOMA)
    np.testing.assert_array_equal(poll.marks, [[[True, True, False]]])


@pytest.mark.parametrize(
    ("regions", "most"), [("wt-tc-et", 8), ("wt-tc-et-rc", 5), ("et-net-cc-ed", 5)], ids=lambda part: str(part)
)
def test_as_many_members_as_allowed_fit_a_code_of_sixteen_bits(
    regions: str, most: int, rng: np.random.Generator
) -> None:
    assert max_members(REGION_SETS[regions]) == most
    label_maps = rng.integers(0, len(Label), (most, 40, 40, 40)).astype(np.uint8)
    poll = count_votes(label_maps, REGION_SETS[regions])
    assert poll.codes.dtype == np.uint16
    last = [poll.spread(of_region) for of_region in poll.marks[-1].T]
    np.testing.assert_array_equal(np.stack(last, axis=-1), marks(label_maps[-1:], REGION_SETS[regions])[0])


def test_a_single_region_takes_one_bit_per_member(rng: np.random.Generator) -> None:
    whole = RegionSet("wt", GLIOMA.strokes[:1])
    poll = count_votes((rng.random((3, 5, 5, 5)) < 0.4).astype(np.uint8), whole)
    assert poll.codes.max() < 8
    assert max_members(whole) == 16
