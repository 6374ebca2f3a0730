"""How far members are from their fusion."""

import numpy as np
import pytest

from htcnns.image.dissent import dissent_notes, dissenting_share, region_counts
from htcnns.image.notes import Kind
from htcnns.labels import GLIOMA, Label, Region, region_mask


def test_counts_of_regions_are_those_of_their_masks(rng: np.random.Generator) -> None:
    one, other = rng.integers(0, 4, (2, 9, 8, 7), np.uint8)
    masks = [(region_mask(one, region), region_mask(other, region)) for region in GLIOMA.regions]
    expected = [[(a & b).sum(), a.sum(), b.sum()] for a, b in masks]
    assert region_counts(one, other, GLIOMA).tolist() == expected


def test_counts_of_empty_maps_are_zero() -> None:
    empty = np.zeros((4, 4, 4), np.uint8)
    assert not region_counts(empty, empty, GLIOMA).any()


def test_the_share_counts_members_with_another_label() -> None:
    fused = np.full((1, 1, 2), Label.ED, np.uint8)
    maps = [np.array([[[Label.ED, first]]], np.uint8) for first in (Label.ED, Label.ET, Label.BACKGROUND, Label.ED)]
    assert dissenting_share(maps, fused).tolist() == [[[0.0, 0.5]]]


@pytest.mark.parametrize(
    ("dice", "volume_ml", "n_notes"),
    [((0.9, 0.69), 5.0, 1), ((0.9, 0.7), 5.0, 0), ((0.9, 0.1), 0.4, 0), ((0.1,), 5.0, 0)],
    ids=["far", "near", "tiny region", "one member alone"],
)
def test_a_member_far_from_the_fusion_is_noted(dice: tuple[float, ...], volume_ml: float, n_notes: int) -> None:
    of_members = {f"member {n}": {Region.TC: value} for n, value in enumerate(dice)}
    notes = dissent_notes(of_members, {Region.TC: volume_ml})  # the largest volume among members and fusion
    assert [note.kind for note in notes] == [Kind.MEMBERS_DISAGREE] * n_notes
