"""Tumours that a case did not have: where they are cut, how they are matched, and quenched enhancement."""

import numpy as np
import pytest

from htcnns.labels import SEQUENCES, Label, Sequence
from htcnns.training.transplant import blend, carve, matched, quench_enhancement

T1N, T1C = SEQUENCES.index(Sequence.T1N), SEQUENCES.index(Sequence.T1C)


@pytest.fixture
def label_map() -> np.ndarray:
    """A cube of enhancing tumour in the middle."""
    label_map = np.zeros((40, 40, 40), np.uint8)
    label_map[12:28, 12:28, 12:28] = Label.ET
    return label_map


def test_the_cut_is_half_a_tumour_at_least_and_as_much_tissue_as_it_is_deep_at_most(label_map: np.ndarray) -> None:
    brain = np.ones(label_map.shape, bool)
    cuts = [carve(label_map, brain, np.random.default_rng(seed)) for seed in range(40)]
    tumour = label_map > 0
    shares = [float((cut & tumour).sum() / tumour.sum()) for cut in cuts]
    assert min(shares) < 0.6
    assert min(cut.sum() for cut in cuts) > 8**3 * 0.5
    assert sum(share > 0.9 for share in shares) >= 12
    reach = [int(np.ptp(np.flatnonzero(cut.any(axis=(1, 2))))) for cut in cuts]
    assert 24 <= max(reach) <= 34
    assert len({int(cut.sum()) for cut in cuts}) > 20


def test_nothing_is_cut_where_one_head_has_no_brain(label_map: np.ndarray) -> None:
    brain = np.zeros(label_map.shape, bool)
    brain[:20] = True
    for seed in range(5):
        cut = carve(label_map, brain, np.random.default_rng(seed))
        assert cut.any()
        assert not cut[20:].any()


def test_a_tumour_that_half_resolution_misses_is_cut_as_it_is(rng: np.random.Generator) -> None:
    label_map = np.zeros((9, 9, 9), np.uint8)
    label_map[3, 3, 3] = Label.ED
    np.testing.assert_array_equal(carve(label_map, np.ones((9, 9, 9), bool), rng), label_map > 0)


def test_matching_gives_the_hosts_mean_and_deviation(rng: np.random.Generator) -> None:
    donor, host = rng.normal(3, 2, (4, 4000)), rng.normal(-1, 1.5, (4, 4000))
    scales, shifts = matched(donor, host, np.ones(4000, bool))
    same = donor * scales[:, None] + shifts[:, None]
    np.testing.assert_allclose(same.mean(axis=1), host.mean(axis=1), atol=1e-5)
    np.testing.assert_allclose(same.std(axis=1), host.std(axis=1), rtol=1e-5)


def test_matching_needs_tissue_and_stretches_within_limits(rng: np.random.Generator) -> None:
    flat, wild = np.ones((4, 400)), rng.normal(0, 9, (4, 400))
    few = np.arange(400) < 100
    assert [each.tolist() for each in matched(flat, wild, few)] == [[1] * 4, [0] * 4]
    assert matched(flat, wild, np.ones(400, bool))[0].tolist() == [2] * 4


def test_the_donor_fades_over_the_edge_of_the_cut() -> None:
    cut = np.zeros((12, 12, 12), bool)
    cut[:6] = True
    np.testing.assert_allclose(blend(cut)[3:9, 6, 6], [1, 1, 2 / 3, 1 / 3, 0, 0], atol=1e-6)


def test_without_enhancement_t1c_is_t1n_deep_inside_and_itself_far_outside(
    label_map: np.ndarray, rng: np.random.Generator
) -> None:
    array = rng.normal(size=(4, *label_map.shape)).astype(np.float32)
    before = array.copy()
    quenched, labels = quench_enhancement(array, label_map, 2 * array[T1N])
    np.testing.assert_array_equal(array, before)
    deep, far = (slice(15, 25),) * 3, (slice(0, 9),) * 3
    np.testing.assert_allclose(quenched[T1C][deep], 2 * array[T1N][deep], atol=1e-6)
    np.testing.assert_array_equal(quenched[T1C][far], array[T1C][far])
    others = [index for index in range(4) if index != T1C]
    np.testing.assert_array_equal(quenched[others], array[others])
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels == Label.NCR, label_map == Label.ET)
    assert not (labels == Label.ET).any()


def test_without_enhancement_nothing_changes_where_there_is_no_tumour(rng: np.random.Generator) -> None:
    array = rng.normal(size=(4, 16, 16, 16)).astype(np.float32)
    quenched, labels = quench_enhancement(array, np.zeros((16, 16, 16), np.uint8), array[T1N])
    np.testing.assert_array_equal(quenched, array)
    assert not labels.any()
