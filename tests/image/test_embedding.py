"""Cases as points: what is in a row of features, how blocks are weighted, and that a map is the same each time."""

import sys

import numpy as np
import pytest

from htcnns.errors import SettingsError
from htcnns.image.embedding import (
    COARSE,
    N_QUANTILES,
    appearance,
    balanced,
    principal_components,
    two_dimensions,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_quantiles_are_those_of_the_brain_and_do_not_depend_on_position(rng: np.random.Generator) -> None:
    array = rng.normal(size=(2, 12, 10, 8)).astype(np.float32)
    array[:, :3] = 0
    coarse, quantiles = appearance(array)
    assert (coarse.shape, quantiles.shape) == ((2 * np.prod(COARSE),), (2 * N_QUANTILES,))
    expected = np.quantile(array[1][array[1] != 0], np.arange(1, N_QUANTILES + 1) / (N_QUANTILES + 1))
    np.testing.assert_allclose(quantiles[N_QUANTILES:], expected, atol=1e-6)
    turned, same = appearance(array[:, ::-1, ::-1])
    np.testing.assert_allclose(same, quantiles, atol=1e-6)
    assert not np.allclose(turned, coarse)


def test_a_missing_sequence_is_zero(rng: np.random.Generator) -> None:
    array = rng.normal(size=(2, 8, 8, 8)).astype(np.float32)
    array[0] = 0
    coarse, quantiles = appearance(array)
    assert not coarse[: np.prod(COARSE)].any()
    assert not quantiles[:N_QUANTILES].any()
    assert quantiles[N_QUANTILES:].any()


def test_each_block_has_the_same_variance(rng: np.random.Generator) -> None:
    joined = balanced([1000 * rng.normal(size=(9, 4)) + 7, rng.normal(size=(9, 300))])
    totals = [part.var(axis=0).sum() for part in np.split(joined, [4], axis=1)]
    np.testing.assert_allclose(totals, 1, atol=1e-9)
    np.testing.assert_allclose(joined.mean(axis=0), 0, atol=1e-9)


def test_a_block_in_which_all_cases_are_alike_becomes_zero() -> None:
    assert not balanced([np.full((9, 2), 3.0)]).any()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "d", "expected"), [(11, 200, 2), (33, 200, 8), (100, 200, 20), (33, 3, 3), (8, 1, 1)], ids=str
)
def test_there_are_at_most_a_quarter_as_many_components_as_cases(
    n: int, d: int, expected: int, rng: np.random.Generator
) -> None:
    assert principal_components(rng.normal(size=(n, d))).shape == (n, expected)


@pytest.mark.slow
def test_the_map_of_eleven_cases_is_the_same_each_time(rng: np.random.Generator) -> None:
    components = rng.normal(size=(11, 5))
    places = two_dimensions(components)
    assert places.shape == (11, 2)
    np.testing.assert_array_equal(two_dimensions(components), places)


@pytest.mark.slow
def test_groups_that_lie_far_apart_lie_apart_on_the_map(rng: np.random.Generator) -> None:
    components = rng.normal(size=(20, 4))
    components[10:] += 50
    places = two_dimensions(components)
    within = np.linalg.norm(places[:10] - places[:10].mean(axis=0), axis=1).max()
    assert np.linalg.norm(places[:10].mean(axis=0) - places[10:].mean(axis=0)) > 1.5 * within


def test_without_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    with pytest.raises(
        SettingsError, match=r'scikit-learn is not installed. Install it: pip install "htcnns\[cohorts\]"'
    ):
        principal_components(np.zeros((4, 4)))
