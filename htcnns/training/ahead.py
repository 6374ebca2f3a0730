"""Work done ahead in threads, with results in order: while the caller works, or in the gaps between its steps."""

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
        n_workers: number of threads; with 0 every result is made when it is asked for.
        n_ahead: maximum number of results that are being made or waiting.
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
    """`make(step)` for every step, in order; several results at once while the caller waits, none while it works.

    For a caller that keeps every core busy: its threads wait for one another, so work beside them costs it more time
    than the work itself takes.

    Args:
        n_workers: number of threads; with 0 every result is made when it is asked for.
        n_at_once: number of results made in one gap, at least one for each worker; with more, workers wait less for
            the slowest of them.
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
    """A pool of threads, each with a single PyTorch thread: more would take the caller's cores."""
    return ThreadPoolExecutor(n_workers, thread_name_prefix="ahead", initializer=torch.set_num_threads, initargs=(1,))
