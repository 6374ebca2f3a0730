"""Statistics of a cohort: means with intervals, paired comparison of two methods, ranking of several."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

N_RESAMPLES = 2000
_INTERVAL = (2.5, 97.5)  # percentiles of a 95 % interval


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Scores of many cases in a few numbers.

    Attributes:
        n: number of cases with a score.
        n_undefined: number of cases without a score; the statistics leave them out.
        sd: standard deviation with n - 1 in the denominator; NaN for fewer than two cases.
    """

    n: int
    n_undefined: int
    mean: Estimate
    median: Estimate
    sd: Estimate


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """One method against another on the same cases; differences are first minus second.

    Attributes:
        p: p-value of the two-sided Wilcoxon signed-rank test; 1 when no case differs, NaN without cases.
        wins, ties, losses: number of cases in which the first method is better, equal, worse.
    """

    n: int
    difference: Estimate
    p: float
    wins: int
    ties: int
    losses: int


def summarise(values: np.ndarray, *, generator: np.random.Generator) -> Summary:
    """Mean, median and standard deviation of (n,) scores, each with its interval; NaN scores are counted separately."""
    defined = values[~np.isnan(values)]
    resamples = _resamples(defined, generator)
    return Summary(
        n=defined.size,
        n_undefined=values.size - defined.size,
        mean=_estimate(_mean(defined[None])[0], _mean(resamples)),
        median=_estimate(_median(defined[None])[0], _median(resamples)),
        sd=_estimate(_sd(defined[None])[0], _sd(resamples)),
    )


def compare_paired(first: np.ndarray, second: np.ndarray, *, better: int, generator: np.random.Generator) -> PairedTest:
    """The comparison of two methods by their (n,) scores on the same cases; cases where either is NaN are left out.

    Args:
        better: 1 where a larger score is better, -1 where a smaller one is.
    """
    keep = ~(np.isnan(first) | np.isnan(second))
    first, second = first[keep], second[keep]
    differences = np.subtract(first, second, out=np.zeros(first.size), where=first != second)  # inf and inf tie
    return PairedTest(
        n=differences.size,
        difference=_estimate(_mean(differences[None])[0], _mean(_resamples(differences, generator))),
        p=_wilcoxon(differences),
        wins=int((better * differences > 0).sum()),
        ties=int((differences == 0).sum()),
        losses=int((better * differences < 0).sum()),
    )


def rank_methods(scores: np.ndarray, better: np.ndarray) -> np.ndarray:
    """Mean rank of each method, 1 the best: ranked per case and score, as BraTS ranks its participants.

    Args:
        scores: (n_methods, n_cases, n_scores). A NaN ranks behind every number; if all are NaN, all rank equal.
        better: (n_scores,) 1 where larger is better, -1 where smaller is.

    Returns:
        (n_methods,) means over cases and scores; equal scores share the mean of their ranks.

    Source: BraTS 2017 to 2025 sum the ranks over cases, regions and scores and divide by their number.
    """
    badness = np.where(np.isnan(scores), np.inf, -better * scores)
    ranks = stats.rankdata(badness, axis=0)
    return ranks.reshape(len(scores), -1).mean(axis=1)


def _resamples(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(N_RESAMPLES, n) scores drawn with replacement."""
    return values[generator.integers(0, max(values.size, 1), (N_RESAMPLES, values.size))]


def _estimate(value: float, resampled: np.ndarray) -> Estimate:
    if not np.isfinite(resampled).all():
        return Estimate(float(value), float("nan"), float("nan"))
    low, high = np.percentile(resampled, _INTERVAL)
    return Estimate(float(value), float(low), float(high))


def _mean(values: np.ndarray) -> np.ndarray:
    """(m,) means of (m, n); NaN without cases."""
    return values.mean(axis=1) if values.shape[1] else np.full(len(values), np.nan)


def _median(values: np.ndarray) -> np.ndarray:
    return np.median(values, axis=1) if values.shape[1] else np.full(len(values), np.nan)


def _sd(values: np.ndarray) -> np.ndarray:
    if values.shape[1] < 2 or not np.isfinite(values).all():
        return np.full(len(values), np.nan)
    return values.std(axis=1, ddof=1)


def _wilcoxon(differences: np.ndarray) -> float:
    if differences.size == 0:
        return float("nan")
    nonzero = differences[differences != 0]
    return float(stats.wilcoxon(nonzero).pvalue) if nonzero.size else 1.0
