"""The picture of two cohorts: both colours, names beside few cases, and names not read as formulas."""

import numpy as np
import pytest

from htcnns.reports.cohort_picture import HEIGHT, MARKS, MOST_NAMES, WIDTH, Cohort, cohort_picture
from htcnns.scores.separation import Separation

FOUND = Separation(accuracy=0.9, p=0.01, n_permutations=100)


def cohort(name: str, n: int, *, at: float = 0.0, case: str = "case") -> Cohort:
    places = np.stack([np.arange(n) + at, np.arange(n) % 3], axis=1)
    return Cohort(name=name, cases=tuple(f"{case}{i}" for i in range(n)), places=places)


def n_pixels(picture: np.ndarray, colour: str) -> int:
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(picture.astype(int) - rgb).max(axis=2) < 45).sum())


def test_both_cohorts_are_drawn_in_their_colours() -> None:
    picture = cohort_picture((cohort("A", 5), cohort("B", 6, at=20)), FOUND, of="images")
    assert (picture.shape, picture.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    assert min(n_pixels(picture, colour) for colour, _ in MARKS) > 200


def test_names_are_drawn_beside_few_cases_and_not_beside_many() -> None:
    few, many = (
        cohort_picture((cohort("A", n, case="x" * 20), cohort("B", n, at=n)), FOUND, of="images")
        for n in (MOST_NAMES // 2, MOST_NAMES // 2 + 1)
    )
    colour = MARKS[0][0]
    assert n_pixels(few, colour) > 1.5 * n_pixels(many, colour)


@pytest.mark.parametrize("name", ["$\\frac{1}{", "a$b", "\x1b[31m\n", "caf\udce9"], ids=ascii)
def test_any_name_is_drawn_as_text(name: str) -> None:
    picture = cohort_picture((cohort(name, 2, case=name), cohort("B", 2, at=9)), FOUND, of="images")
    assert picture.shape == (HEIGHT, WIDTH, 3)


def test_a_higher_accuracy_is_a_higher_bar() -> None:
    groups = (cohort("A", 4), cohort("B", 4, at=9))
    low, high = (
        cohort_picture(groups, Separation(accuracy=a, p=0.9, n_permutations=9), of="images") for a in (0.4, 0.8)
    )
    assert n_pixels(high, "#009e73") > 1.7 * n_pixels(low, "#009e73")
