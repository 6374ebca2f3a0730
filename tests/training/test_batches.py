"""Batches: which cases and kinds they mix, what is known of them, and that any process draws the same ones."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from prepared import make_card, phantom_case, plain_case

from htcnns.errors import InputError
from htcnns.files.prepared_cases import CaseKind, PreparedCase, read_cards, write_prepared
from htcnns.labels import GLIOMA, REGION_SETS, SEQUENCES, Label, Region, Sequence, region_mask
from htcnns.networks.contract import Head
from htcnns.training import batches
from htcnns.training.augment import Augmentation
from htcnns.training.batches import BatchSource, batch_source
from htcnns.training.cases import CaseStore
from htcnns.training.samples import draw

VARIETY = Augmentation(transplant_share=0.3, pose_share=0.3)
CUBE = (16, 16, 16)
FLIPS = [axes for n in range(4) for axes in combinations((1, 2, 3), n)]


def piece() -> PreparedCase:
    """A piece of 12 voxels per side."""
    rng = np.random.default_rng(5)
    label_map = np.full((12, 12, 12), Label.ED, np.uint8)
    case = plain_case(rng.normal(size=(4, 12, 12, 12)).astype(np.float32), label_map, name="c", kind=CaseKind.PIECE)
    return replace(case, inside=np.ones((12, 12, 12), bool))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    """Two heads, the second with only its whole tumour known, and a piece."""
    folder = tmp_path_factory.mktemp("cache")
    partly = phantom_case("b", seed=2)
    for case in (phantom_case("a"), replace(partly, card=replace(partly.card, known=(Region.WT,))), piece()):
        write_prepared(folder, case)
    return CaseStore(read_cards(folder))


def source(store: CaseStore, **changes: object) -> BatchSource:
    settings = {
        "mix": {CaseKind.HEAD: 1.0},
        "regions": GLIOMA,
        "sequences": SEQUENCES,
        "piece_patch": (16, 16, 24),
        "seed": 3,
    }
    return batch_source(store, changes.pop("cards", store.cards), **{**settings, **changes})


def test_a_batch_has_the_shapes_that_networks_take(store: CaseStore) -> None:
    batch = source(store).draw(0, (16, 24, 32), VARIETY, range(3))
    assert batch.x.shape == (3, 4, 16, 24, 32)
    assert batch.x.is_contiguous(memory_format=torch.channels_last_3d)
    assert (batch.truth.shape, batch.truth.dtype) == ((3, 3, 16, 24, 32), torch.bool)
    assert (batch.known.shape, batch.known.dtype) == ((3, 3), torch.bool)
    assert batch.inside is None
    assert set(batch.names) <= {"a", "b"}


def test_sequences_and_regions_are_those_of_the_recipe(store: CaseStore) -> None:
    cards = store.cards[:1]
    full = source(store, cards=cards).draw(1, CUBE, VARIETY, range(2))
    regions = REGION_SETS["wt-tc-et-rc"]
    some = source(store, cards=cards, sequences=(Sequence.T2F, Sequence.T1C), regions=regions)
    batch = some.draw(1, CUBE, VARIETY, range(2))
    torch.testing.assert_close(batch.x, full.x[:, [3, 1]], rtol=0, atol=0)
    torch.testing.assert_close(batch.truth[:, :3], full.truth, rtol=0, atol=0)
    assert batch.known.tolist() == [[True, True, True, False]] * 2


def test_exclusive_labels_agree_with_the_regions(store: CaseStore) -> None:
    regions = source(store, cards=store.cards[:1]).draw(1, CUBE, VARIETY, range(2))
    batch = source(store, head=Head.SOFTMAX).draw(1, CUBE, VARIETY, range(2))
    wt, tc, et = regions.truth.unbind(1)
    expected = torch.stack([~wt, tc & ~et, wt & ~tc, et], dim=1)
    assert expected.flatten(2).any(2).any(0).all()
    torch.testing.assert_close(batch.truth, expected, rtol=0, atol=0)
    assert batch.known.tolist() == [[True] * 4] * 2


def test_exclusive_labels_are_learnt_from_cases_that_annotate_them_all(store: CaseStore) -> None:
    assert source(store, head=Head.SOFTMAX).names == {CaseKind.HEAD: ("a",)}
    message = "found 0 cases that annotate every region of wt-tc-et-rc"
    with pytest.raises(InputError, match=message):
        source(store, head=Head.SOFTMAX, regions=REGION_SETS["wt-tc-et-rc"])


def test_a_region_that_a_case_does_not_annotate_is_unknown(store: CaseStore) -> None:
    batch = source(store).draw(0, CUBE, VARIETY, range(8))
    known = dict(zip(batch.names, batch.known.tolist(), strict=True))
    assert known == {"a": [True, True, True], "b": [True, False, False]}


def test_patches_depend_only_on_seed_step_and_slot(store: CaseStore) -> None:
    whole = source(store).draw(5, CUBE, VARIETY, range(4))
    for rank in (0, 1):
        part = source(store).draw(5, CUBE, VARIETY, range(rank, 4, 2))
        torch.testing.assert_close(part.x, whole.x[rank::2], rtol=0, atol=0)
        torch.testing.assert_close(part.truth, whole.truth[rank::2], rtol=0, atol=0)
        assert part.names == whole.names[rank::2]
    assert not torch.equal(source(store).draw(6, CUBE, VARIETY, range(4)).x, whole.x)
    assert not torch.equal(source(store, seed=4).draw(5, CUBE, VARIETY, range(4)).x, whole.x)


def test_kinds_are_mixed_by_weight_and_pieces_have_their_own_patch_size(store: CaseStore) -> None:
    mixed = source(store, mix={CaseKind.HEAD: 3.0, CaseKind.PIECE: 1.0, CaseKind.SYNTHETIC: 5.0})
    drawn = [mixed.draw(step, CUBE, VARIETY, range(1)) for step in range(80)]
    pieces = [batch for batch in drawn if batch.names == ("c",)]
    assert 10 <= len(pieces) <= 30
    for batch in pieces:
        assert batch.x.shape == (1, 4, 16, 16, 24)
        assert batch.inside.shape == (1, 1, 16, 16, 24)
        assert 0 < batch.inside.float().mean() < 1
    assert all(batch.inside is None for batch in drawn if batch.names != ("c",))


def test_tumours_are_transplanted_between_the_cases_of_a_fit(store: CaseStore) -> None:
    variety = Augmentation(transplant_share=1.0, quench_share=0)
    seen = {int(batch.truth[0, 0].sum()) for batch in (source(store).draw(s, CUBE, variety, [0]) for s in range(6))}
    assert len(seen) > 3


def test_cases_without_a_known_region_of_the_recipe_are_left_out(store: CaseStore) -> None:
    cards = [replace(store.cards[0], known=(Region.RC,)), store.cards[1]]
    assert source(store, cards=cards).names == {CaseKind.HEAD: ("b",)}
    assert source(store, cards=cards).n_cases == 1


def test_a_mix_without_a_case_to_train_on_is_refused(store: CaseStore) -> None:
    message = (
        "no case to train on; found 1 cases that annotate a region of wt-tc-et, expected cases of a kind .*: piece"
    )
    with pytest.raises(InputError, match=message):
        source(store, cards=[make_card("a")], mix={CaseKind.PIECE: 1.0, CaseKind.HEAD: 0.0})


def test_truth_is_that_of_the_patch(store: CaseStore) -> None:
    still = Augmentation(quench_share=0, gamma_share=0, noise_share=0, scale=0, shift=0, flip_share=0)
    batch = source(store, cards=store.cards[:1]).draw(2, (32, 32, 32), still, [0])
    sums = [int(region_mask(store["a"].label_map, region).sum()) for region in GLIOMA.regions]
    assert batch.truth.sum((0, 2, 3, 4)).tolist() == sums


def test_an_echo_is_the_same_patch_mirrored(store: CaseStore) -> None:
    once, thrice = source(store), source(store, n_echoes=3, batch=2)
    shown = [thrice.draw(step, CUBE, VARIETY, range(2)) for step in range(48)]
    for step, batch in enumerate(shown):
        first = once.draw(step // 24 * 8 + step % 8, CUBE, VARIETY, range(2))
        assert batch.names == first.names
        for slot in range(2):
            flips = [axes for axes in FLIPS if torch.equal(batch.x[slot], first.x[slot].flip(axes))]
            assert flips
            assert any(torch.equal(batch.truth[slot], first.truth[slot].flip(axes)) for axes in flips)
    assert len({batch.x[0].flatten()[:64].sum().item() for batch in shown[::8]}) > 2


def test_echoes_are_the_same_from_whichever_step_a_fit_resumes(store: CaseStore) -> None:
    whole = source(store, n_echoes=2)
    for step in range(20):
        there = whole.draw(step, CUBE, VARIETY, range(1))
        again = source(store, n_echoes=2).draw(step, CUBE, VARIETY, range(1))
        torch.testing.assert_close(there.x, again.x, rtol=0, atol=0)


def test_a_patch_is_drawn_once_for_all_its_echoes(store: CaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr(batches, "draw", lambda *args, **kwargs: drawn.append(1) or draw(*args, **kwargs))
    echoing = source(store, n_echoes=3)
    for step in range(48):
        echoing.draw(step, CUBE, VARIETY, range(1))
    assert len(drawn) == 16
