"""Work done ahead in threads: results in order, hidden behind what the caller does, or in its gaps."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

import torch

_T = TypeVar("_T")


def made_ahead(make: Callable[[int], _T], steps: Iterable[int], *, n_workers: int, n_ahead: int) -> Iterator[_T]:
    """`make(step)` for every step, in order; an error in it is raised when its step's turn comes.

    Args:
        n_workers: threads; with 0 every result is made when it is asked for.
        n_ahead: results that are made or waiting at most.
    """
    if n_workers < 1:
        yield from map(make, steps)
        return
    pool = _pool(n_workers)
    waiting: deque[Future[_T]] = deque()
    numbers = iter(steps)
    try:
        while True:
            while len(waiting) < max(1, n_ahead) and (step := next(numbers, None)) is not None:
                waiting.append(pool.submit(make, step))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def made_in_gaps(
    make: Callable[[int], _T], steps: Iterable[int], *, n_workers: int, n_at_once: int = 1
) -> Iterator[_T]:
    """`make(step)` for every step, in order; several of them between two steps, and nothing beside the caller.

    For a caller that keeps every core busy: threads of its own that wait for one another lose more by work beside them
    than that work takes.

    Args:
        n_workers: threads; with 0 every result is made when it is asked for.
        n_at_once: results that are made in one gap, at least one for each worker; the more, the less one thread waits
            for another that has more to do.
    """
    if n_workers < 1:
        yield from map(make, steps)
        return
    with _pool(n_workers) as pool:
        numbers = iter(steps)
        while made := deque(pool.submit(make, step) for step in islice(numbers, max(n_workers, n_at_once))):
            wait(made)
            while made:
                yield made.popleft().result()


def _pool(n_workers: int) -> ThreadPoolExecutor:
    """Threads with one thread of torch's in each: more would take the caller's cores."""
    return ThreadPoolExecutor(n_workers, thread_name_prefix="ahead", initializer=torch.set_num_threads, initargs=(1,))
