"""Working on items one after another: their order, errors in reading, and the time limit."""

import threading
from collections.abc import Callable

import pytest

from htcnns.runs.local import TooLong, run_local


def double(item: int, read: Callable[[], int]) -> tuple[int, int]:
    return item, 2 * read()


def error_of(_: object, read: Callable[[], object]) -> BaseException | None:
    try:
        read()
    except Exception as error:  # of whatever kind
        return error
    return None


def test_results_come_in_the_order_of_the_items() -> None:
    assert list(run_local(range(5), read=lambda item: item + 1, work=double)) == [(n, 2 * n + 2) for n in range(5)]


def test_no_items_mean_no_results() -> None:
    assert list(run_local([], read=int, work=double)) == []


def test_an_error_in_reading_is_raised_where_work_calls_read() -> None:
    good, bad = run_local(["1", "x"], read=int, work=error_of)
    assert good is None
    assert isinstance(bad, ValueError)
    assert "'x'" in str(bad)


@pytest.mark.parametrize("n_stuck", [1, 3])
def test_an_item_that_is_not_read_in_time_fails_alone(n_stuck: int) -> None:
    for_ever = threading.Event()
    results = run_local(
        range(n_stuck + 1), read=lambda item: item < n_stuck and for_ever.wait(60), work=error_of, limit_s=0.2
    )
    assert [type(error) for error in results] == [TooLong] * n_stuck + [type(None)]
    for_ever.set()


@pytest.mark.slow
def test_an_item_that_is_read_in_time_may_wait_longer_for_its_turn() -> None:
    pause = threading.Event()

    def work(_: int, read: Callable[[], int]) -> int:
        pause.wait(0.3)
        return read()

    assert list(run_local(range(3), read=int, work=work, limit_s=0.2)) == [0, 1, 2]


def test_reading_stops_when_the_results_are_no_longer_wanted() -> None:
    read: list[int] = []
    pause = threading.Event()

    def slowly(item: int) -> int:
        pause.wait(0.1)
        read.append(item)
        return item

    results = run_local(range(5), read=slowly, work=double)
    assert next(results) == (0, 0)
    results.close()
    assert read == [0, 1]
