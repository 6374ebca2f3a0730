"""Echoes: which draw each step shows."""

from collections import Counter

from htcnns.training.echoes import DISTANCE, draw_number


def test_with_one_echo_each_step_shows_its_own_draw() -> None:
    assert [draw_number(step, 1) for step in range(40)] == list(range(40))


def test_every_draw_is_shown_as_often_as_asked_for_at_equal_distances() -> None:
    numbers = [draw_number(step, 3) for step in range(10 * 3 * DISTANCE)]
    assert Counter(numbers) == Counter(dict.fromkeys(range(10 * DISTANCE), 3))
    places = [step for step, number in enumerate(numbers) if number == DISTANCE + 1]
    assert places == [3 * DISTANCE + 1, 4 * DISTANCE + 1, 5 * DISTANCE + 1]
