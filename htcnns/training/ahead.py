"""Work done ahead in threads: results in order, hidden behind what the caller does with the one before."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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
    # one thread of torch's in each worker: more would take the caller's cores
    pool = ThreadPoolExecutor(n_workers, thread_name_prefix="ahead", initializer=torch.set_num_threads, initargs=(1,))
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
