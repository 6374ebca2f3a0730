"""Lesions: components, joining by dilation and by touch, matching; all small enough to do by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from htcnns.scores.lesions import (
    Lesions,
    components,
    dilate,
    joined_by_touch,
    match,
    merged_lesions,
    plain_lesions,
    touching_pairs,
    without_small,
)
from htcnns.scores.sparse import Voxels, framed

PROPERTY = settings(derandomize=True, deadline=None, max_examples=30)


def row(text: str) -> Voxels:
    """A line of voxels along K, one character each, `.` for background, in a frame of eight zeros."""
    return Voxels.of(framed(np.array([[[c != "." for c in text]]]), 8))


def merged(text: str, iterations: int) -> Lesions:
    return merged_lesions(row(text), dilate(row(text).mask(), iterations=iterations))


@pytest.mark.parametrize(("gap", "n"), [(5, 1), (6, 1), (7, 2)], ids=["below", "at", "above"])
def test_lesions_merge_up_to_twice_the_dilation(gap: int, n: int) -> None:
    assert merged(f"x{'.' * gap}x", 3).n_lesions == n


def test_plain_components_join_at_corners_and_are_numbered_in_scan_order() -> None:
    mask = np.zeros((4, 4, 4), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 3, 3] = True
    labels, n = components(mask)
    assert (n, labels[0, 0, 0], labels[1, 1, 1], labels[3, 3, 3]) == (2, 1, 1, 2)


def test_an_empty_mask_has_no_lesions() -> None:
    lesions = plain_lesions(row("...."))
    assert (lesions.n_lesions, lesions.sizes.tolist()) == (0, [])
    assert match(lesions, lesions).n_false_positives == 0


def test_small_lesions_are_removed_and_the_others_keep_their_numbers() -> None:
    lesions = without_small(plain_lesions(row("xx.xxxx.xxx")), most_voxels=3)
    assert lesions.sizes.tolist() == [0, 4]
    assert np.unique(lesions.voxels.numbers).tolist() == [2]


def test_match_takes_lesions_within_reach_and_takes_them_whole() -> None:
    truth, prediction = merged("xxxx..........xx....", 1), plain_lesions(row("...xxx..........xx.x"))
    matches = match(prediction, truth)
    assert matches.pairs.tolist() == [[1, 1], [2, 2]]
    assert matches.touching(1).tolist() == [2]
    assert matches.n_common.tolist() == [1, 0]
    assert (matches.dice(0), matches.dice(1), matches.n_false_positives) == (2 / 7, 0, 1)


def test_lesions_that_touch_the_same_lesion_of_another_tissue_become_one() -> None:
    lesions = joined_by_touch(plain_lesions(row("xx...xx..xx")), [plain_lesions(row("..xxx......"))])
    assert lesions.n_lesions == 2
    assert lesions.sizes.tolist() == [2, 4]


def test_a_single_touch_joins_nothing() -> None:
    lesions = joined_by_touch(plain_lesions(row("xx...xx")), [plain_lesions(row("..x...."))])
    assert lesions.sizes.tolist() == [2, 2]


def test_a_lesion_follows_only_its_first_partner() -> None:
    """The middle lesion shares a neighbour with each of the others: it joins the first, and the last stays alone."""
    ours, theirs = plain_lesions(row("xx.xx.xx")), plain_lesions(row("..x..x.."))
    assert touching_pairs(ours, theirs).tolist() == [[1, 1], [2, 1], [2, 2], [3, 2]]
    assert joined_by_touch(ours, [theirs]).sizes.tolist() == [4, 2]


@PROPERTY
@given(arrays(bool, (5, 6, 7), elements=st.booleans()), st.integers(1, 3))
def test_dilation_equals_scipy(mask: np.ndarray, iterations: int) -> None:
    structure = ndimage.generate_binary_structure(3, 2)
    padded = np.pad(mask, iterations)
    expected = ndimage.binary_dilation(padded, structure, iterations=iterations)
    np.testing.assert_array_equal(dilate(padded, iterations=iterations), expected)


@PROPERTY
@given(arrays(bool, (5, 6, 7), elements=st.sampled_from([True] + 9 * [False])))
def test_the_reach_of_a_lesion_is_the_dilation_of_its_voxels(mask: np.ndarray) -> None:
    voxels = Voxels.of(framed(mask, 5))
    lesions = merged_lesions(voxels, dilate(voxels.mask(), iterations=2))
    reached = [dilate(lesions.voxels.paint() == n, iterations=2) for n in range(1, lesions.n_lesions + 1)]
    expected = sum((n * r for n, r in enumerate(reached, start=1)), 0)
    np.testing.assert_array_equal(lesions.reach, expected)


@PROPERTY
@given(arrays(np.uint8, (3, 4, 5), elements=st.integers(0, 3)))
def test_voxels_paint_what_they_were_made_of(label_map: np.ndarray) -> None:
    np.testing.assert_array_equal(Voxels.of(label_map).paint(), label_map)
    np.testing.assert_array_equal(Voxels.of(label_map).mask(), label_map > 0)
