"""Random patches: their shapes, places, flips and variations, and that the same seed draws the same patch."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from prepared import addressed_case, numbered_case, phantom_case

from htcnns.files.prepared_cases import CaseKind, PreparedCase
from htcnns.labels import SEQUENCES, Label, Region, Sequence, region_mask
from htcnns.training import samples
from htcnns.training.augment import Augmentation
from htcnns.training.samples import draw

AS_IT_IS = Augmentation(quench_share=0, gamma_share=0, noise_share=0, scale=0, shift=0)
EVERYTHING = Augmentation(
    **{name: 0.5 for name in Augmentation.__dataclass_fields__ if name.endswith("_share")}, largest_turn=10.0
)
T1N, T1C = SEQUENCES.index(Sequence.T1N), SEQUENCES.index(Sequence.T1C)
CUBE = (16, 16, 16)


@pytest.fixture(scope="module")
def phantom() -> PreparedCase:
    return phantom_case()


@pytest.fixture(scope="module")
def healthy() -> PreparedCase:
    return phantom_case("healthy", with_tumour=False)


def speck(shape: tuple[int, int, int] = (64, 64, 64)) -> PreparedCase:
    """A case with a tumour of one voxel."""
    label_map = np.zeros(shape, np.uint8)
    label_map[50, 3, 31] = Label.ED
    return numbered_case(np.ones((4, *shape), np.uint8), label_map)


@pytest.mark.parametrize("shape", [(8, 8, 8), (16, 24, 8), (48, 48, 48)])
@pytest.mark.parametrize("variety", [AS_IT_IS, EVERYTHING], ids=["plain", "everything"])
def test_patches_have_the_shape_asked_for(
    phantom: PreparedCase, shape: tuple[int, int, int], variety: Augmentation, rng: np.random.Generator
) -> None:
    patch = draw(phantom, shape, rng, variety=variety)
    assert (patch.array.shape, patch.array.dtype) == ((4, *shape), np.float32)
    assert (patch.label_map.shape, patch.label_map.dtype) == (shape, np.uint8)
    assert patch.inside is None
    assert patch.known == phantom.card.known


@pytest.mark.parametrize("seed", range(5))
def test_a_patch_larger_than_the_case_holds_all_of_it(phantom: PreparedCase, seed: int) -> None:
    patch = draw(phantom, (48, 48, 48), np.random.default_rng(seed), variety=AS_IT_IS)
    assert np.count_nonzero(patch.array) == np.count_nonzero(phantom.array)
    counts = [np.bincount(each.ravel())[1:].tolist() for each in (patch.label_map, phantom.label_map)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("seed", range(5))
def test_a_patch_lies_inside_a_larger_case(seed: int) -> None:
    patch = draw(addressed_case((20, 24, 28)), CUBE, np.random.default_rng(seed), variety=AS_IT_IS)
    assert (patch.array > 0).all()
    assert len(np.unique(patch.array.reshape(4, -1), axis=1).T) == 16**3


@pytest.mark.parametrize("seed", range(10))
def test_flips_move_intensities_and_truth_alike(seed: int) -> None:
    case = addressed_case((20, 24, 28))
    patch = draw(case, CUBE, np.random.default_rng(seed), variety=AS_IT_IS)
    i, j, k = patch.array[:3].astype(int) - 1
    np.testing.assert_array_equal(patch.label_map, case.label_map[i, j, k])


def test_every_axis_is_flipped_sometimes_and_never_with_flips_off() -> None:
    case = addressed_case((8, 8, 8))

    def directions(variety: Augmentation) -> set[tuple[int, ...]]:
        drawn = [draw(case, (8, 8, 8), np.random.default_rng(seed), variety=variety).array for seed in range(40)]
        return {tuple(int(np.sign(np.diff(array[axis], axis=axis)).max()) for axis in range(3)) for array in drawn}

    assert len(directions(AS_IT_IS)) == 8
    assert directions(replace(AS_IT_IS, flip_share=0)) == {(1, 1, 1)}


@pytest.mark.parametrize("seed", range(6))
def test_the_same_seed_draws_the_same_patch(phantom: PreparedCase, seed: int) -> None:
    other = phantom_case("other", seed=2)
    first, second = (
        draw(phantom, CUBE, np.random.default_rng(seed), variety=EVERYTHING, donors=lambda _: other) for _ in range(2)
    )
    np.testing.assert_array_equal(first.array, second.array)
    np.testing.assert_array_equal(first.label_map, second.label_map)


def test_another_seed_draws_another_patch(phantom: PreparedCase) -> None:
    first, second = (draw(phantom, CUBE, np.random.default_rng(seed), variety=AS_IT_IS) for seed in (7, 8))
    assert not np.array_equal(first.array, second.array)


def test_intensities_are_the_z_scores_of_the_case(phantom: PreparedCase) -> None:
    patch = draw(phantom, (32, 32, 32), np.random.default_rng(1), variety=replace(AS_IT_IS, flip_share=0))
    values = np.sort(patch.array[3][patch.array[3] != 0])
    np.testing.assert_allclose(values, np.sort(phantom.table[3][phantom.array[3][phantom.array[3] > 0]]), atol=1e-6)


def test_patches_of_a_case_without_tumour_hold_brain(healthy: PreparedCase, rng: np.random.Generator) -> None:
    patch = draw(healthy, CUBE, rng, variety=AS_IT_IS)
    assert patch.array.any()
    assert not patch.label_map.any()


def test_patches_of_an_empty_case_are_empty(rng: np.random.Generator) -> None:
    empty = numbered_case(np.zeros((4, 20, 20, 20), np.uint8), np.zeros((20, 20, 20), np.uint8))
    assert not draw(empty, CUBE, rng, variety=EVERYTHING).array.any()


def test_every_tumour_patch_holds_a_voxel_of_a_small_tumour_and_others_rarely() -> None:
    def sums(share: float) -> list[int]:
        variety = replace(AS_IT_IS, tumour_share=share)
        drawn = [draw(speck(), CUBE, np.random.default_rng(seed), variety=variety) for seed in range(20)]
        return [int((patch.label_map > 0).sum()) for patch in drawn]

    assert sums(1.0) == [1] * 20
    assert sum(sums(0.0)) < 5


@pytest.mark.parametrize("name", ["misregister", "thick", "coarse", "bias", "noise", "drop"])
def test_the_artefact_of_a_share_changes_the_patch_but_never_its_truth(
    phantom: PreparedCase, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    share = f"{name}_share"
    doubled = tuple((each, lambda array, _: 2 * array) for each, _ in samples._ARTEFACTS if each == share)
    monkeypatch.setattr(samples, "_ARTEFACTS", doubled)
    plain, varied = (
        draw(phantom, CUBE, np.random.default_rng(4), variety=replace(AS_IT_IS, flip_share=0, **{share: each}))
        for each in (0.0, 1.0)
    )
    assert len(doubled) == 1
    np.testing.assert_array_equal(varied.array, 2 * plain.array)
    np.testing.assert_array_equal(varied.label_map, plain.label_map)


@pytest.mark.parametrize("seed", range(6))
def test_the_truth_of_a_posed_patch_moves_with_it(seed: int) -> None:
    label_map = np.zeros((40, 44, 48), np.uint8)
    label_map[14:26, 12:30, 20:34] = Label.ED
    case = numbered_case(np.where(label_map > 0, np.uint8(9), np.uint8(1))[None].repeat(4, axis=0), label_map)
    variety = replace(AS_IT_IS, tumour_share=1.0, pose_share=1.0, elastic_share=1.0)
    patch = draw(case, (20, 20, 20), np.random.default_rng(seed), variety=variety)
    assert (patch.label_map > 0).any()
    assert ((patch.array[0] > 5) == (patch.label_map > 0)).mean() > 0.98


def test_without_enhancement_there_is_no_et_and_the_tumour_stays(phantom: PreparedCase) -> None:
    shape = (32, 32, 32)
    quenched, plain = (
        draw(phantom, shape, np.random.default_rng(1), variety=replace(AS_IT_IS, quench_share=share, flip_share=0))
        for share in (1.0, 0.0)
    )
    assert not region_mask(quenched.label_map, Region.ET).any()
    assert region_mask(plain.label_map, Region.ET).any()
    np.testing.assert_array_equal(quenched.label_map > 0, plain.label_map > 0)
    others = [index for index in range(4) if index != T1C]
    np.testing.assert_array_equal(quenched.array[others], plain.array[others])
    rim = plain.label_map == Label.ET
    np.testing.assert_allclose(quenched.array[T1C][rim].mean(), quenched.array[T1N][rim].mean(), atol=0.3)


def test_a_case_without_t1n_is_never_quenched() -> None:
    whole = phantom_case()
    array = whole.array.copy()
    array[T1N] = 0
    case = replace(whole, array=array, card=replace(whole.card, sequences=SEQUENCES[1:]))
    patch = draw(case, (32, 32, 32), np.random.default_rng(1), variety=replace(AS_IT_IS, quench_share=1.0))
    assert region_mask(patch.label_map, Region.ET).any()
    assert not patch.array[T1N].any()


def test_a_patch_knows_where_its_piece_ends() -> None:
    inside = np.ones((20, 20, 8), bool)
    inside[:3] = False
    case = numbered_case(inside * np.ones((4, 1, 1, 1), np.uint8), inside.astype(np.uint8), kind=CaseKind.PIECE)
    case = replace(case, inside=inside)
    for variety in (AS_IT_IS, replace(AS_IT_IS, pose_share=1.0)):
        patch = draw(case, (24, 24, 24), np.random.default_rng(2), variety=variety)
        assert patch.inside is not None
        assert patch.inside.any()
        assert not patch.array[:, ~patch.inside].any()
        assert not patch.label_map[~patch.inside].any()
    assert patch.inside.sum() != inside.sum()


@pytest.fixture
def host() -> PreparedCase:
    """A head of two tissues without tumour."""
    array = np.ones((4, 40, 40, 40), np.uint8)
    array[:, ::2] = 3
    return numbered_case(array, np.zeros((40, 40, 40), np.uint8), name="host")


@pytest.fixture
def donor() -> PreparedCase:
    """A brighter head with twice the contrast and a tumour that is brighter still."""
    array = np.full((4, 40, 40, 40), 20, np.uint8)
    array[:, ::2] = 24
    label_map = np.zeros((40, 40, 40), np.uint8)
    label_map[14:26, 14:26, 14:26] = Label.ED
    label_map[18:22, 18:22, 18:22] = Label.ET
    array[:, label_map > 0] = 42
    return numbered_case(array, label_map, name="donor")


CARRY = replace(AS_IT_IS, transplant_share=1.0, flip_share=0)


@pytest.mark.parametrize("seed", range(6))
def test_a_transplanted_tumour_takes_the_contrast_of_its_new_head(
    host: PreparedCase, donor: PreparedCase, seed: int
) -> None:
    patch = draw(host, (32, 32, 32), np.random.default_rng(seed), variety=CARRY, donors=lambda _: donor)
    assert {0, int(Label.ED), int(Label.ET)} >= set(np.unique(patch.label_map)) > {0}
    tumour = patch.label_map > 0
    assert patch.array[:, tumour].max() == pytest.approx(12, abs=0.5)  # (42 - 22) / 2 + 2
    assert set(np.unique(patch.array[0][~tumour]).round(3)) >= {1, 3}


def test_tumours_are_transplanted_as_often_as_asked_for(host: PreparedCase, donor: PreparedCase) -> None:
    variety = replace(CARRY, transplant_share=0.4)
    drawn = [draw(host, CUBE, np.random.default_rng(s), variety=variety, donors=lambda _: donor) for s in range(60)]
    assert 12 <= sum(bool(patch.label_map.any()) for patch in drawn) <= 36


Change = Callable[[PreparedCase], PreparedCase]


@pytest.mark.parametrize(
    "change",
    [
        lambda donor: replace(donor, card=replace(donor.card, known=(Region.WT,))),
        lambda donor: replace(donor, card=replace(donor.card, sequences=SEQUENCES[1:])),
        lambda donor: replace(donor, card=replace(donor.card, name="host")),
        lambda donor: replace(donor, places={0: donor.places[0]}),
    ],
    ids=["tells_less", "shows_less", "same_case", "no_tumour"],
)
def test_an_unsuitable_donor_is_not_used(host: PreparedCase, donor: PreparedCase, change: Change) -> None:
    patch = draw(host, CUBE, np.random.default_rng(1), variety=CARRY, donors=lambda _: change(donor))
    assert not patch.label_map.any()


def test_a_sequence_that_the_host_lacks_stays_missing(host: PreparedCase, donor: PreparedCase) -> None:
    array = host.array.copy()
    array[T1N] = 0
    host = replace(host, array=array, card=replace(host.card, sequences=SEQUENCES[1:]))
    patch = draw(host, (32, 32, 32), np.random.default_rng(1), variety=CARRY, donors=lambda _: donor)
    assert patch.label_map.any()
    assert not patch.array[T1N].any()


def test_drawing_leaves_the_case_as_it_was(phantom: PreparedCase) -> None:
    before = phantom.array.copy(), phantom.label_map.copy(), phantom.table.copy()
    for seed in range(10):
        draw(phantom, CUBE, np.random.default_rng(seed), variety=EVERYTHING)
    for name, each in zip(("array", "label_map", "table"), before, strict=True):
        np.testing.assert_array_equal(getattr(phantom, name), each)
