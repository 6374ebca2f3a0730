"""Key points of packed cases: found once, kept, and moved with the truth through every variation of a patch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from prepared import addressed_case, numbered_case, phantom_case, plain_case, write_phantoms

from htcnns.files.key_points import key_points_path
from htcnns.files.prepared_cases import CaseKind, PreparedCase
from htcnns.image.key_points import BITS, KEYS, boundary, key_map
from htcnns.labels import GLIOMA, SEQUENCES, Label, Region, region_mask
from htcnns.training import key_points
from htcnns.training.augment import Augmentation
from htcnns.training.batches import Batch, batch_source
from htcnns.training.cases import CaseStore, open_store
from htcnns.training.key_points import find_key_points, with_key_points
from htcnns.training.samples import Patch, draw

STILL = Augmentation(quench_share=0, gamma_share=0, noise_share=0, scale=0, shift=0, flip_share=0)
WHOLE = (32, 32, 32)


@pytest.fixture(scope="module")
def case() -> PreparedCase:
    """A phantom with its key points."""
    found = phantom_case("a")
    return replace(found, key_points=find_key_points(found))


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    return open_store([write_phantoms(tmp_path / "cache", ["a", "b"])])


def drawn(case: PreparedCase, shape: tuple[int, int, int] = WHOLE, seed: int = 1, **variety: object) -> Patch:
    return draw(case, shape, np.random.default_rng(seed), variety=replace(STILL, **variety))


def batch_of(store: CaseStore, **variety: object) -> Batch:
    source = batch_source(
        with_key_points(store, store.cards),
        store.cards,
        mix={CaseKind.HEAD: 1.0},
        regions=GLIOMA,
        sequences=SEQUENCES,
        piece_patch=WHOLE,
        seed=1,
    )
    return source.draw(0, WHOLE, replace(STILL, **variety), range(2))


def test_points_lie_on_the_boundary_of_their_region(case: PreparedCase) -> None:
    on = {
        region: boundary(region_mask(case.label_map, region))[tuple(points.T)].all()
        for region, points in case.key_points.items()
    }
    assert on == dict.fromkeys(KEYS, True)
    assert all(0 < len(case.key_points[region]) <= keys.n_points for region, keys in KEYS.items())


def test_only_regions_that_the_truth_annotates_have_points() -> None:
    found = phantom_case("a")
    assert set(find_key_points(replace(found, card=replace(found.card, known=(Region.WT,))))) == {Region.WT}


def test_a_piece_that_is_all_tumour_has_no_boundary() -> None:
    tumour = plain_case(np.ones((4, 8, 8, 8), np.float32), np.full((8, 8, 8), Label.ET, np.uint8))
    piece = replace(tumour, card=replace(tumour.card, kind=CaseKind.PIECE), inside=np.ones((8, 8, 8), bool))
    assert [len(points) for points in find_key_points(piece).values()] == [0, 0, 0]
    assert [len(points) for points in find_key_points(tumour).values()] == [8**3 - 6**3, 200, 100]


def test_points_are_found_once_and_kept(store: CaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = with_key_points(store, store.cards)
    monkeypatch.setattr(key_points, "find_key_points", lambda _: pytest.fail("found again"))
    again = with_key_points(store, store.cards)
    for name in ("a", "b"):
        for region, points in first[name].key_points.items():
            np.testing.assert_array_equal(again[name].key_points[region], points)
    assert [card.name for card in open_store({path.parent for path in store.files}).cards] == ["a", "b"]


def test_points_of_another_case_or_a_damaged_file_are_found_again(store: CaseStore, tmp_path: Path) -> None:
    first = with_key_points(store, store.cards)
    a, b = (key_points_path(tmp_path / "cache", name) for name in ("a", "b"))
    a.write_bytes(b.read_bytes())
    b.write_bytes(b"no archive")
    again = with_key_points(store, store.cards)
    np.testing.assert_array_equal(again["a"].key_points[Region.WT], first["a"].key_points[Region.WT])
    np.testing.assert_array_equal(again["b"].key_points[Region.WT], first["b"].key_points[Region.WT])


def test_points_of_another_view_are_found_again(store: CaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str] = []
    monkeypatch.setattr(key_points, "find_key_points", lambda case: found.append(case.card.name) or {})
    for view in ("as packed", "as packed", "resized"):
        with_key_points(store, store.cards, view=view)
    assert found == ["a", "b", "a", "b"]


@pytest.mark.parametrize("seed", range(6))
def test_balls_are_cropped_and_flipped_with_the_truth(seed: int) -> None:
    case = addressed_case((20, 24, 28))  # whose intensities are the places of its voxels
    points = {region: np.array([[5, 6, 7], [11, 12, 13], [15, 20, 20]]) + place for place, region in enumerate(KEYS)}
    patch = drawn(replace(case, key_points=points), (16, 16, 16), seed, flip_share=0.5)
    i, j, k = patch.array[:3].astype(int) - 1
    whole = key_map(points, np.zeros(3, int), np.array((20, 24, 28)))
    np.testing.assert_array_equal(patch.keys, whole[i, j, k])
    assert set(np.unique(patch.keys)) >= {0, *BITS.values()}


@pytest.mark.parametrize("seed", range(4))
def test_balls_are_turned_zoomed_and_bent_with_the_truth(seed: int) -> None:
    points = {Region.WT: np.array([[15, 15, 15], [10, 20, 12], [22, 9, 20]])}
    balls = key_map(points, np.zeros(3, int), np.array(WHOLE))
    case = numbered_case(np.ones((4, *WHOLE)), np.where(balls, np.uint8(Label.ED), np.uint8(0)))
    patch = drawn(
        replace(case, key_points=points), (24, 24, 24), seed, pose_share=1.0, elastic_share=1.0, flip_share=0.5
    )
    np.testing.assert_array_equal(patch.keys > 0, patch.label_map > 0)
    assert 40 < np.count_nonzero(patch.keys) < 150
    assert not np.array_equal(patch.keys, balls[4:28, 4:28, 4:28])


def test_a_transplanted_tumour_brings_its_balls(case: PreparedCase) -> None:
    other = phantom_case("host", seed=2, with_tumour=False)
    host = replace(other, key_points=find_key_points(other))
    variety = replace(STILL, transplant_share=1.0)
    patch = draw(host, WHOLE, np.random.default_rng(5), variety=variety, donors=lambda _: case)
    assert patch.label_map.any()
    assert patch.keys.any()


def test_a_patch_of_a_case_without_key_points_has_none() -> None:
    patch = drawn(phantom_case("a"), pose_share=1.0)
    assert patch.keys is None
    assert (patch.label_map > 0).any()


def test_a_batch_has_the_part_of_each_region_in_its_balls(store: CaseStore) -> None:
    batch = batch_of(store)
    assert (batch.keys.shape, batch.keys.dtype) == ((2, 3, *WHOLE), torch.bool)
    assert not (batch.keys & ~batch.truth).any()
    assert 0 < batch.keys.sum() < batch.truth.sum()
    moved = batch.to(torch.device("cpu"))
    torch.testing.assert_close(moved.keys, batch.keys)


def test_a_tumour_without_enhancement_has_no_et_balls(store: CaseStore) -> None:
    enhancing = GLIOMA.regions.index(Region.ET)
    assert batch_of(store).keys[:, enhancing].any()
    assert not batch_of(store, quench_share=1.0).keys[:, enhancing].any()
