"""Cleaning of fusions: specks and holes by hand, in every region, for every method, and the probabilities after it."""

import numpy as np
import pytest

from htcnns.image.fusion import CUT, FUSIONS, Fused, fuse
from htcnns.image.fusion_cleanup import clean_fusion
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import GLIOMA, Label

SHAPE = (24, 24, 24)
RULES = PostprocessRules(min_component_voxels={"WT": 100, "TC": 20, "ET": 5})


def blank() -> np.ndarray:
    return np.zeros(SHAPE, np.uint8)


def fused_of(*label_maps: np.ndarray, method: str = "majority") -> Fused:
    stacked = np.stack(label_maps)
    masks = [
        np.stack([np.isin(m, [int(label) for label in region.value]) for m in stacked]) for region in GLIOMA.regions
    ]
    return fuse(stacked, GLIOMA, method=method, probabilities=np.stack(masks, 1).astype(np.float32))


@pytest.fixture
def overlapping() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three members with the same large tumour; two of them also overlap elsewhere, in 4 x 4 x 1 voxels."""
    maps = blank(), blank(), blank()
    for each in maps:
        each[2:9, 2:9, 2:9] = Label.ED
        each[4:7, 4:7, 4:7] = Label.ET
    maps[0][14:18, 14:18, 10:18] = Label.ED
    maps[1][14:18, 14:18, 17:24] = Label.ED
    return maps


@pytest.mark.parametrize("method", ["staple", "majority"])
def test_a_speck_that_no_member_drew_is_removed(overlapping: tuple[np.ndarray, ...], method: str) -> None:
    fused = fused_of(*overlapping, method=method)
    assert np.count_nonzero(fused.label_map[12:]) == 16
    cleaned = clean_fusion(fused, [RULES] * 3)
    assert not cleaned.label_map[12:].any()
    np.testing.assert_array_equal(cleaned.label_map[:12], fused.label_map[:12])
    np.testing.assert_array_equal(cleaned.sensitivity, fused.sensitivity)


def test_one_member_that_keeps_small_components_keeps_them_in_the_fusion(overlapping: tuple[np.ndarray, ...]) -> None:
    fused = fused_of(*overlapping)
    assert clean_fusion(fused, [RULES, RULES, PostprocessRules()]) is fused


@pytest.mark.parametrize("method", FUSIONS)
def test_large_components_stay_as_they_are(overlapping: tuple[np.ndarray, ...], method: str) -> None:
    fused = fused_of(
        *[np.where(np.arange(24)[:, None, None] < 12, m, 0).astype(np.uint8) for m in overlapping], method=method
    )
    assert clean_fusion(fused, [RULES] * 3) is fused


@pytest.mark.parametrize(
    ("label", "n_voxels", "becomes"),
    [
        (Label.ET, 4, Label.NCR),
        (Label.ET, 5, Label.ET),
        (Label.NCR, 19, Label.ED),
        (Label.NCR, 20, Label.NCR),
    ],
    ids=["small ET", "larger ET", "small NCR", "larger NCR"],
)
def test_what_leaves_a_region_becomes_what_lies_beneath(label: Label, n_voxels: int, becomes: Label) -> None:
    whole = blank()
    whole[2:10, 2:22, 2:22] = Label.ED
    if label is Label.ET:
        whole[4:8, 4:20, 4:8] = Label.NCR
    whole[6, 6, 4 : 4 + n_voxels] = label
    cleaned = clean_fusion(fused_of(whole, whole), [RULES, RULES]).label_map
    assert (cleaned[6, 6, 4 : 4 + min(n_voxels, 4)] == becomes).all()


@pytest.mark.parametrize("method", FUSIONS)
def test_probabilities_at_the_cut_compose_the_label_map(overlapping: tuple[np.ndarray, ...], method: str) -> None:
    for each in overlapping:
        each[5, 5, 20] = Label.ET  # a lone voxel in the background
    fused = fused_of(*overlapping, method=method)
    cleaned = clean_fusion(fused, [RULES] * 3)
    assert (cleaned.label_map != fused.label_map).any()
    np.testing.assert_array_equal(GLIOMA.compose(cleaned.probabilities >= CUT), cleaned.label_map)
    same = cleaned.label_map == fused.label_map
    np.testing.assert_array_equal(cleaned.probabilities[:, same], fused.probabilities[:, same])
    assert not cleaned.probability(GLIOMA.regions[0]).flags.writeable


def test_an_empty_fusion_stays_empty() -> None:
    fused = fused_of(blank(), blank())
    assert clean_fusion(fused, [RULES, RULES]) is fused


def test_notes_on_a_region_that_lost_voxels_say_they_are_from_before() -> None:
    maps = blank(), blank(), blank()
    for each in maps[:2]:
        each[4:6, 4:6, 4:6] = Label.ED
    fused = fused_of(*maps)
    assert fused.notes[0] == "WT: nothing from member 3 (of 3); the fused region has 8 voxels."
    first, *others = clean_fusion(fused, [RULES] * 3).notes
    assert (
        first
        == "WT: nothing from member 3 (of 3); the fused region has 8 voxels; that was before the fusion was cleaned."
    )
    assert others == list(fused.notes[1:])


def test_a_hole_that_every_member_fills_is_filled_in_the_fusion() -> None:
    whole = blank()
    whole[4:20, 4:20, 4:20] = Label.NCR
    left, right = whole.copy(), whole.copy()
    left[8:12, 8:12, :] = np.where(whole[8:12, 8:12, :] > 0, Label.ED, 0)
    right[10:14, 8:12, :] = np.where(whole[10:14, 8:12, :] > 0, Label.ED, 0)
    fills, leaves = PostprocessRules(filled_regions=["TC"]), PostprocessRules()
    fused = fused_of(left, right, left)
    filled = clean_fusion(fused, [fills] * 3)
    np.testing.assert_array_equal(filled.label_map, whole)
    np.testing.assert_array_equal(filled.probability(GLIOMA.regions[1]) >= CUT, whole > 0)
    assert clean_fusion(fused, [fills, fills, leaves]) is fused
