"""Lesions matched one to one, and percentiles within each of many pairs: for tens of thousands of lesions at once."""

import math

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

_UNMATCHED = 1.0 + 1e-6  # panoptica 2.1.7's cost of a pair that may not be matched; a match costs 1 - Dice
_LARGEST_TABLE = 2**22  # entries, 32 MiB; above it each group of overlapping lesions is matched separately
_SHIFT = 1.0  # added to each cost of a sparse table, where a cost of 0 would mean no pair


def best_matches(pairs: np.ndarray, dices: np.ndarray, *, n_lesions: tuple[int, int]) -> np.ndarray:
    """(n,) bool, which of the pairs are matched: one to one, with the largest possible sum of Dice.

    Among matchings of equal sum it is the one that the organisers' full table leads to, if that table has at most
    _LARGEST_TABLE entries.

    Args:
        pairs: (n, 2) numbers of two lesions that overlap, from 1, each pair once.
        dices: (n,) above 0.
        n_lesions: number of lesions in the first and in the second mask.
    """
    if math.prod(n_lesions) <= _LARGEST_TABLE:
        return _solved(pairs - 1, dices, n_lesions)
    groups = _overlapping_groups(pairs, n_lesions)
    sizes = np.bincount(groups)
    chosen = sizes[groups] == 1
    order = np.argsort(groups, kind="stable")
    ends = np.cumsum(sizes)
    for group in np.flatnonzero(sizes > 1).tolist():
        members = order[ends[group] - sizes[group] : ends[group]]
        (ones, one), (others, other) = (np.unique(side, return_inverse=True) for side in pairs[members].T)
        solve = _solved if ones.size * others.size <= _LARGEST_TABLE else _solved_sparsely
        chosen[members] = solve(np.stack([one, other], axis=1), dices[members], (ones.size, others.size))
    return chosen


def percentiles_by_group(values: np.ndarray, groups: np.ndarray, *, percentile: float) -> np.ndarray:
    """(n_groups,) percentile of the values of each group, interpolated linearly as in numpy.

    Args:
        values: (n,) float64, finite.
        groups: (n,) group number of each value, from 0; no group is empty.
    """
    order = np.lexsort((values, groups))
    ordered = values[order]
    sizes = np.bincount(groups)
    places = (sizes - 1) * (percentile / 100)
    below = np.floor(places)
    share = places - below
    first = np.cumsum(sizes) - sizes + below.astype(np.int64)
    low, high = ordered[first], ordered[np.minimum(first + 1, np.cumsum(sizes) - 1)]
    # interpolated from the nearer end, as numpy does, so that not a bit differs
    return np.where(share >= 0.5, high - (high - low) * (1 - share), low + (high - low) * share)


def _solved(pairs: np.ndarray, dices: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """`best_matches` by one full table of all lesions; numbers count from 0."""
    costs = np.full(shape, _UNMATCHED)
    costs[tuple(pairs.T)] = 1.0 - dices
    ones, others = linear_sum_assignment(costs)
    partner = np.full(shape[0], -1)
    partner[ones] = others
    return partner[pairs[:, 0]] == pairs[:, 1]


def _solved_sparsely(pairs: np.ndarray, dices: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """`_solved` by a sparse table: the pairs, and a column per lesion of the first mask that leaves it unmatched."""
    n, m = shape
    alone = np.arange(n)
    rows, columns = np.concatenate([pairs[:, 0], alone]), np.concatenate([pairs[:, 1], m + alone])
    costs = np.concatenate([1.0 - dices, np.full(n, _UNMATCHED)]) + _SHIFT
    ones, others = min_weight_full_bipartite_matching(coo_array((costs, (rows, columns)), shape=(n, m + n)).tocsr())
    partner = np.full(n, -1)
    partner[ones] = others
    return partner[pairs[:, 0]] == pairs[:, 1]


def _overlapping_groups(pairs: np.ndarray, n_lesions: tuple[int, int]) -> np.ndarray:
    """(n,) group number of each pair, from 0; a group is all lesions that overlap directly or through others."""
    ones, others = pairs[:, 0], pairs[:, 1] + n_lesions[0]
    n = sum(n_lesions) + 1
    _, group_of = connected_components(coo_array((np.ones(ones.size, bool), (ones, others)), shape=(n, n)))
    return np.unique(group_of[ones], return_inverse=True)[1]
