"""Cohort statistics: by hand, against scipy, and for cohorts that allow no conclusion."""

import numpy as np
import pytest
from scipy import stats

from htcnns.scores.statistics import compare_paired, rank_methods, summarise


def test_summary_of_four_scores_by_hand(rng: np.random.Generator) -> None:
    summary = summarise(np.array([1.0, 2.0, 3.0, 6.0, np.nan]), generator=rng)
    assert (summary.n, summary.n_undefined) == (4, 1)
    assert (summary.mean.value, summary.median.value) == (3.0, 2.5)
    assert summary.sd.value == pytest.approx(np.sqrt(14 / 3))


def test_bootstrap_interval_is_near_the_normal_one_for_many_cases(rng: np.random.Generator) -> None:
    mean = summarise(rng.normal(5, 1, 400), generator=rng).mean
    assert mean.high - mean.low == pytest.approx(2 * 1.96 / 20, rel=0.15)
    assert mean.low < mean.value < mean.high


def test_summary_of_no_case_is_undefined_and_of_one_is_itself(rng: np.random.Generator) -> None:
    assert np.isnan(summarise(np.array([np.nan]), generator=rng).mean.value)
    one = summarise(np.array([0.5]), generator=rng)
    assert (one.mean.value, one.mean.low, one.mean.high) == (0.5, 0.5, 0.5)
    assert np.isnan(one.sd.value)


def test_infinite_scores_have_no_interval(rng: np.random.Generator) -> None:
    mean = summarise(np.array([1.0, np.inf]), generator=rng).mean
    assert mean.value == np.inf
    assert np.isnan([mean.low, mean.high]).all()


def test_paired_comparison_by_hand(rng: np.random.Generator) -> None:
    first, second = np.array([0.9, 0.8, 0.7, 0.5, np.nan]), np.array([0.8, 0.6, 0.7, 0.6, 0.1])
    test = compare_paired(first, second, better=1, generator=rng)
    assert (test.n, test.wins, test.ties, test.losses) == (4, 2, 1, 1)
    assert test.difference.value == pytest.approx(0.05)


def test_wins_are_reversed_where_less_is_better(rng: np.random.Generator) -> None:
    test = compare_paired(np.array([1.0, 5.0, 1.0]), np.array([2.0, 3.0, 4.0]), better=-1, generator=rng)
    assert (test.wins, test.losses) == (2, 1)


def test_p_is_that_of_scipys_wilcoxon(rng: np.random.Generator) -> None:
    first, second = rng.normal(0.3, 1, 30), rng.normal(0, 1, 30)
    expected = stats.wilcoxon(first, second).pvalue
    assert compare_paired(first, second, better=1, generator=rng).p == pytest.approx(expected)


def test_equal_methods_cannot_be_told_apart(rng: np.random.Generator) -> None:
    same = np.array([0.1, 0.2, np.inf])
    assert compare_paired(same, same, better=-1, generator=rng).p == 1.0
    assert np.isnan(compare_paired(same[:0], same[:0], better=1, generator=rng).p)


def test_ranking_by_hand() -> None:
    """Two cases, Dice and HD95: the first method wins three of four, the second wins one; the third is last."""
    scores = np.array([[[0.9, 1.0], [0.8, 9.0]], [[0.8, 2.0], [0.7, 5.0]], [[0.1, 30.0], [np.nan, 30.0]]])
    np.testing.assert_allclose(rank_methods(scores, np.array([1, -1])), [1.25, 1.75, 3.0])


def test_equal_scores_share_their_rank() -> None:
    np.testing.assert_allclose(rank_methods(np.ones((2, 3, 1)), np.array([1])), [1.5, 1.5])
