"""A cache of the most recently used values, up to a limit (LRU)."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Recent(Generic[_T]):
    """The most recently used values, computed when missing; threads may share the cache.

    Args:
        most: limit on the total size; the most recently used value is always kept.
        size_of: size of a value; 1 by default.
    """

    def __init__(self, most: int, size_of: Callable[[_T], int] = lambda _: 1) -> None:
        self._most, self._size_of = most, size_of
        self._kept: OrderedDict[Hashable, _T] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """The value of a key, from `make` if missing; concurrent calls for one key may both compute it."""
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
        """Total size of the values in the cache."""
        return sum(map(self._size_of, self._kept.values()))
