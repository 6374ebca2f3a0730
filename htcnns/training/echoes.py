"""Patches shown more than once: drawn and varied at full cost, then mirrored otherwise each time they come back.

Source: data echoing (Choi 2019, arXiv 1907.05550), where drawing takes longer than learning.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

_T = TypeVar("_T")

DISTANCE = 8  # steps between two showings of a patch
STEPS_AHEAD = 4  # that workers may be ahead of each other before a patch is drawn again


def draw_number(step: int, n_echoes: int) -> int:
    """Which draw a step shows: each is shown `n_echoes` times, every DISTANCE steps; one echo is the step itself."""
    block, place = divmod(step, DISTANCE * n_echoes)
    return block * DISTANCE + place % DISTANCE if n_echoes > 1 else step


class Recent(Generic[_T]):
    """The values asked for last, made when they are not there; threads may share it.

    Args:
        size: how many are kept; with 0 each is made again.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, _T] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """The value of that key; two threads that ask at once may both make it."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        value = make()
        with self._lock:
            self._kept[key] = value
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)
        return value
