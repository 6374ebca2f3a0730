"""What was asked for last, kept in memory up to a limit."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Recent(Generic[_T]):
    """The values asked for last, made when they are not there; threads may share it.

    Args:
        most: how much is kept; the value asked for last always is.
        size_of: how much a value counts; by default each is one.
    """

    def __init__(self, most: int, size_of: Callable[[_T], int] = lambda _: 1) -> None:
        self._most, self._size_of = most, size_of
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
            while len(self._kept) > 1 and self.size > self._most:
                self._kept.popitem(last=False)
        return value

    @property
    def size(self) -> int:
        """How much is kept now."""
        return sum(map(self._size_of, self._kept.values()))
