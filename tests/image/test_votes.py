"""Votes counted: worked by hand, and held against the votes themselves."""

import numpy as np
import pytest

from htcnns.image.votes import count_votes

DEPTHS = np.array([0, 2, 1, 3], np.uint8)  # of label numbers 0 to 3


def test_two_members_counted_by_hand() -> None:
    first = np.array([0, 3, 3, 2, 0, 0], np.uint8).reshape(6, 1, 1)
    second = np.array([0, 3, 1, 0, 0, 0], np.uint8).reshape(6, 1, 1)
    poll = count_votes(np.stack([first, second]), DEPTHS, n_bits=2)
    assert poll.box == (slice(1, 4), slice(0, 1), slice(0, 1))
    patterns = dict(zip(map(tuple, poll.depths.T.tolist()), poll.n_voxels.tolist(), strict=True))
    assert patterns == {(0, 0): 3, (3, 3): 1, (3, 2): 1, (1, 0): 1}
    ballots, which = poll.ballots(3)
    of_ballots = dict(zip(map(tuple, ballots.votes.T.tolist()), ballots.n_voxels.tolist(), strict=True))
    assert of_ballots == {(False, False): 4, (True, False): 1, (True, True): 1}
    np.testing.assert_array_equal(ballots.votes[:, which], poll.depths >= 3)


@pytest.mark.parametrize("n_members", [1, 2, 3, 4, 5, 8])
def test_what_is_spread_are_the_votes_themselves(n_members: int, rng: np.random.Generator) -> None:
    label_maps = rng.integers(0, 4, (n_members, 7, 8, 9)).astype(np.uint8)
    label_maps[:, :2] = label_maps[..., 7:] = 0
    poll = count_votes(label_maps, DEPTHS, n_bits=2)
    assert poll.n_voxels.sum() == 7 * 8 * 9
    assert (poll.n_voxels > 0).all()
    for_member = [poll.spread(depths) for depths in poll.depths]
    np.testing.assert_array_equal(for_member, DEPTHS[label_maps])
    ballots, which = poll.ballots(2)
    shares = poll.spread(ballots.votes.mean(axis=0)[which])
    np.testing.assert_allclose(shares, (DEPTHS[label_maps] >= 2).mean(axis=0))
    assert ballots.n_voxels.sum() == 7 * 8 * 9


@pytest.mark.parametrize("value", [0, 3])
def test_one_pattern_everywhere(value: int) -> None:
    poll = count_votes(np.full((3, 4, 5, 6), value, np.uint8), DEPTHS, n_bits=2)
    assert poll.n_voxels.tolist() == [120]
    assert poll.depths.tolist() == [[value]] * 3
    np.testing.assert_array_equal(poll.spread(np.array([7.0], np.float32)), np.full((4, 5, 6), 7, np.float32))


def test_masks_take_one_bit(rng: np.random.Generator) -> None:
    masks = rng.random((3, 5, 5, 5)) < 0.4
    poll = count_votes(masks, np.array([0, 1], np.uint8), n_bits=1)
    assert poll.codes.max() < 8
    np.testing.assert_array_equal([poll.spread(member == 1) for member in poll.depths], masks)
