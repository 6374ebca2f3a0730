"""Cases one after another on this machine; the next is read in a thread while the networks work on the current one."""

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from threading import Thread
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Read = TypeVar("_Read")
_Result = TypeVar("_Result")


class TooLong(Exception):  # noqa: N818 - what it is depends on the item
    """Something exceeded its time limit."""


def run_local(
    items: Iterable[_Item],
    *,
    read: Callable[[_Item], _Read],
    work: Callable[[_Item, Callable[[], _Read]], _Result],
    limit_s: float | None = None,
) -> Iterator[_Result]:
    """Yield the results in the order of the items.

    At most one item is being read while another is worked on, so that memory holds two.

    Args:
        read: function that does whatever can be done ahead; runs in another thread.
        work: function of the item and of a function that returns what `read` returned, or raises what it raised.
        limit_s: seconds that reading an item may take; after that the function passed to `work` raises TooLong, and the
            thread is abandoned, as a thread that waits for a disk cannot be ended.
    """
    waiting = iter(items)

    def read_next() -> tuple[_Item, _Reading[_Read]] | None:
        item = next(waiting, None)
        return None if item is None else (item, _Reading(lambda: read(item), limit_s))

    current = read_next()
    try:
        while current is not None:
            item, reading = current
            reading.wait()  # the next item is read only after this one
            current = read_next()
            yield work(item, reading.result)
            del reading  # what was read must not outlive the work on it
    finally:
        if current is not None:  # no reading may go on after the caller has ended this
            current[1].wait()


class _Reading(Generic[_Read]):
    """One item that is being read, in a thread that does not keep the process from ending."""

    def __init__(self, read: Callable[[], _Read], limit_s: float | None) -> None:
        self._future: Future[_Read] = Future()
        self._limit_s = limit_s
        self._began = time.monotonic()
        Thread(target=_settle, args=(self._future, read), daemon=True).start()

    def wait(self) -> None:
        """Return as soon as the item is read, reading has failed, or it has taken too long."""
        left = None if self._limit_s is None else max(0.0, self._began + self._limit_s - time.monotonic())
        wait([self._future], timeout=left)

    def result(self) -> _Read:
        """What was read; raises what reading raised, or TooLong."""
        self.wait()
        if not self._future.done():
            raise TooLong
        return self._future.result()


def _settle(future: Future[_Read], read: Callable[[], _Read]) -> None:
    """Set the future to what the function returns or raises."""
    try:
        future.set_result(read())
    except BaseException as error:
        future.set_exception(error)
