"""Whether two cohorts can be told apart: how often a case's nearest neighbour is of its own cohort, against chance."""

import math
from dataclasses import dataclass

import numpy as np

from htcnns.errors import InputError

N_PERMUTATIONS = 5000
LARGEST_P = 0.05  # largest p-value of cohorts that count as told apart
CHANCE = 0.5  # expected balanced accuracy if both cohorts are one population


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How well the nearest neighbour predicts the cohort.

    Attributes:
        accuracy: share of the cases whose nearest neighbour is of their own cohort, averaged over both cohorts.
        p: share of random divisions of the patients into cohorts of these sizes, the actual one included, that are
            told apart at least as well.
        n_permutations: number of random divisions drawn.
    """

    accuracy: float
    p: float
    n_permutations: int

    @property
    def is_told_apart(self) -> bool:
        """Whether chance alone would rarely separate them so well: p is at most LARGEST_P."""
        return self.p <= LARGEST_P

    @property
    def verdict(self) -> str:
        """The answer in words."""
        return "told apart" if self.is_told_apart else "not told apart"


def separation(
    features: np.ndarray, is_second: np.ndarray, patients: np.ndarray, *, generator: np.random.Generator
) -> Separation:
    """The leave-one-out balanced accuracy of the nearest neighbour, with its p-value by permutation.

    Args:
        features: (n, d) float64; distances are Euclidean.
        is_second: (n,) bool, whether a case is of the second cohort.
        patients: (n,) int, patient of each case; a case's neighbour is always of another patient, and all cases of a
            patient are of one cohort.

    Raises:
        InputError: so few patients that no result could be told from chance.
    """
    _, first, of_patient = np.unique(patients, return_index=True, return_inverse=True)
    by_patient = is_second[first]
    require_enough(by_patient)
    neighbours = _nearest(features, patients)
    shuffled = np.stack([generator.permutation(by_patient) for _ in range(N_PERMUTATIONS)])[:, of_patient]
    accuracy = _accuracy(is_second[None], neighbours)[0]
    as_good = _accuracy(shuffled, neighbours) >= accuracy - 1e-9
    return Separation(
        accuracy=float(accuracy),
        p=float((1 + as_good.sum()) / (1 + N_PERMUTATIONS)),
        n_permutations=N_PERMUTATIONS,
    )


def require_enough(is_second: np.ndarray) -> None:
    """Raise InputError if even the best result would have a p-value above LARGEST_P.

    Args:
        is_second: (n,) bool, whether a patient is of the second cohort.
    """
    n, n_second = len(is_second), int(is_second.sum())
    n_divisions = math.comb(n, n_second) / (2 if 2 * n_second == n else 1)  # cohorts of equal size can be swapped
    if min(n_second, n - n_second) < 2 or n_divisions * LARGEST_P < 1:
        raise InputError(
            "too few patients to compare",
            found=f"{n - n_second} and {n_second}",
            expected="at least 4 in each cohort, or more in one of them",
            remedy="Give more cases.",
        )


def _nearest(features: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """(n,) int: the nearest case of another patient; the first of equally near ones."""
    squares = (features**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * features @ features.T
    distances[patients[:, None] == patients] = np.inf
    return distances.argmin(axis=1)


def _accuracy(labels: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """(m,) balanced accuracies of (m, n) bool labels: the mean over both cohorts."""
    is_right = labels[:, neighbours] == labels
    shares = [(is_right & cohort).sum(axis=1) / cohort.sum(axis=1) for cohort in (labels, ~labels)]
    return (shares[0] + shares[1]) / 2
