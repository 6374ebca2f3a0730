"""Echoes: which draw a step shows, and what is kept."""

from collections import Counter

from htcnns.training.echoes import DISTANCE, Recent, draw_number


def test_one_echo_is_the_step_itself() -> None:
    assert [draw_number(step, 1) for step in range(40)] == list(range(40))


def test_every_draw_is_shown_as_often_as_asked_for_and_always_as_far_apart() -> None:
    numbers = [draw_number(step, 3) for step in range(10 * 3 * DISTANCE)]
    assert Counter(numbers) == Counter(dict.fromkeys(range(10 * DISTANCE), 3))
    places = [step for step, number in enumerate(numbers) if number == DISTANCE + 1]
    assert places == [3 * DISTANCE + 1, 4 * DISTANCE + 1, 5 * DISTANCE + 1]


def test_recent_values_are_kept_and_older_ones_made_again() -> None:
    made = []
    recent: Recent[int] = Recent(2)
    for key in (1, 2, 1, 3, 1, 2):
        assert recent.get(key, lambda key=key: made.append(key) or 10 * key) == 10 * key
    assert made == [1, 2, 3, 2]


def test_with_no_room_nothing_is_kept() -> None:
    made = []
    recent: Recent[int] = Recent(0)
    for _ in range(3):
        recent.get(1, lambda: made.append(1) or 1)
    assert made == [1, 1, 1]
