"""Work done ahead keeps the order, stays within its limit, and raises errors in their turn."""

import threading
import time

import pytest
import torch

from htcnns.training.ahead import made_ahead, made_in_gaps


@pytest.mark.parametrize("n_workers", [0, 1, 3])
def test_results_come_in_order(n_workers: int) -> None:
    def make(step: int) -> int:
        time.sleep(0.01 * (step % 3))
        return step * step

    assert list(made_ahead(make, range(12), n_workers=n_workers, n_ahead=5)) == [n * n for n in range(12)]


def test_no_more_is_made_ahead_than_asked_for() -> None:
    made: list[int] = []
    results = made_ahead(lambda step: made.append(step) or step, range(100), n_workers=2, n_ahead=3)
    assert next(results) == 0
    time.sleep(0.1)
    assert len(made) <= 4
    results.close()
    assert len(made) <= 4


def test_results_are_made_while_the_caller_works() -> None:
    began = time.perf_counter()
    for _ in made_ahead(lambda _: time.sleep(0.05), range(6), n_workers=2, n_ahead=4):
        time.sleep(0.05)
    assert time.perf_counter() - began < 0.5


@pytest.mark.parametrize("n_workers", [0, 2])
def test_an_error_is_raised_in_its_turn(n_workers: int) -> None:
    results = made_ahead(lambda step: 1 // (2 - step), range(9), n_workers=n_workers, n_ahead=4)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_workers_use_one_thread_each_and_leave_the_callers_alone() -> None:
    before = torch.get_num_threads()
    seen = list(
        made_ahead(lambda _: (torch.get_num_threads(), threading.get_ident()), range(4), n_workers=2, n_ahead=4)
    )
    assert {threads for threads, _ in seen} == {1}
    assert threading.get_ident() not in {ident for _, ident in seen}
    assert torch.get_num_threads() == before


def test_without_steps_there_are_no_results() -> None:
    assert list(made_ahead(str, [], n_workers=2, n_ahead=4)) == []


@pytest.mark.parametrize("n_workers", [0, 1, 3])
def test_results_made_in_gaps_come_in_order(n_workers: int) -> None:
    assert list(made_in_gaps(lambda step: step * step, range(10), n_workers=n_workers)) == [n * n for n in range(10)]


@pytest.mark.parametrize(("n_at_once", "n_made"), [(1, 3), (5, 5)])
def test_nothing_is_made_in_gaps_while_the_caller_works(n_at_once: int, n_made: int) -> None:
    busy, made = threading.Event(), []

    def make(step: int) -> int:
        assert not busy.is_set()
        made.append(step)
        return step

    for step in made_in_gaps(make, range(8), n_workers=3, n_at_once=n_at_once):
        busy.set()
        assert len(made) == min(8, step // n_made * n_made + n_made)
        time.sleep(0.01)
        busy.clear()


@pytest.mark.parametrize("n_workers", [0, 2])
def test_an_error_in_a_gap_is_raised_in_its_turn(n_workers: int) -> None:
    results = made_in_gaps(lambda step: 1 // (3 - step), range(9), n_workers=n_workers)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
