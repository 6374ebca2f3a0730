"""Whether cohorts are told apart: worked by hand, by chance, and for cohorts too small to compare."""

import numpy as np
import pytest

from htcnns.errors import InputError
from htcnns.scores.separation import Separation, separation

EIGHT = np.arange(8)
HALVES = EIGHT >= 4


def separated(features: np.ndarray, is_second: np.ndarray, patients: np.ndarray | None = None) -> Separation:
    who = np.arange(len(features)) if patients is None else patients
    return separation(features, is_second, who, generator=np.random.default_rng(1))


def on_a_line(*places: float) -> np.ndarray:
    return np.array(places, float)[:, None]


def test_two_groups_that_lie_apart_are_told_apart_by_hand() -> None:
    found = separated(on_a_line(0, 1, 2, 3, 100, 101, 102, 103), HALVES)
    assert found.accuracy == 1.0
    assert found.p == pytest.approx(2 / 70, abs=0.01)  # this division and its mirror image, of 70
    assert (found.is_told_apart, found.verdict) == (True, "told apart")


def test_cases_paired_across_cohorts_are_never_right() -> None:
    found = separated(on_a_line(0, 10, 20, 30, 1, 11, 21, 31), HALVES)
    assert (found.accuracy, found.p, found.verdict) == (0.0, 1.0, "not told apart")


def test_each_cohort_counts_half_whatever_its_size() -> None:
    places = on_a_line(*range(0, 20, 2), 100, 101, 3.1, 13.1)
    found = separated(places, np.arange(14) >= 10)
    wrong = 2  # 3.1 and 13.1 are nearest to 4 and 14, and also to 2 and 12
    assert found.accuracy == pytest.approx(((10 - 2 * wrong) / 10 + 2 / 4) / 2)


def test_another_case_of_the_same_patient_is_not_a_neighbour() -> None:
    places = on_a_line(0, 0.1, 10, 10.1, 20, 20.1, 30, 30.1, 1, 11, 21, 31)
    patients = np.array([0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7])
    is_second = np.arange(12) >= 8
    assert separated(places, is_second).accuracy == 0.5
    assert separated(places, is_second, patients).accuracy == 0.0


def test_visits_of_a_patient_change_cohorts_together() -> None:
    twice = np.repeat(EIGHT, 2)
    places = on_a_line(*np.repeat([0, 1, 2, 3, 100, 101, 102, 103], 2))
    found = separated(places, np.repeat(HALVES, 2), twice)
    assert found.accuracy == 1.0
    assert found.p == pytest.approx(2 / 70, abs=0.01)


def test_one_population_is_told_apart_as_rarely_as_by_chance() -> None:
    generator = np.random.default_rng(3)
    is_second = np.arange(20) >= 10
    found = [separated(generator.normal(size=(20, 5)), is_second).is_told_apart for _ in range(40)]
    assert sum(found) <= 5


@pytest.mark.parametrize(("n_first", "n_second"), [(3, 3), (1, 30), (2, 3), (8, 0)], ids=str)
def test_too_few_patients_to_compare_are_refused(n_first: int, n_second: int) -> None:
    n = n_first + n_second
    with pytest.raises(InputError, match=rf"too few patients to compare; found {n_first} and {n_second}"):
        separated(np.arange(n, dtype=float)[:, None], np.arange(n) >= n_first)


@pytest.mark.parametrize(("n_first", "n_second"), [(4, 4), (3, 5), (2, 8)], ids=str)
def test_the_smallest_cohorts_that_are_accepted_can_be_told_apart(n_first: int, n_second: int) -> None:
    is_second = np.arange(n_first + n_second) >= n_first
    places = on_a_line(*np.arange(n_first + n_second) + 100.0 * is_second)
    assert separated(places, is_second).is_told_apart
