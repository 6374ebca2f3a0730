"""Cases one after another on this machine; the next is read in a thread while the networks work on the current one."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Read = TypeVar("_Read")
_Result = TypeVar("_Result")


def run_local(
    items: Iterable[_Item],
    *,
    read: Callable[[_Item], _Read],
    work: Callable[[_Item, Callable[[], _Read]], _Result],
) -> Iterator[_Result]:
    """One result after another, in the order of the items.

    At any time one item is read and one is worked on, so that memory holds two.

    Args:
        read: whatever can be done ahead; runs in another thread.
        work: gets the item and a function that returns what `read` returned, or raises what it raised.
    """
    waiting = iter(items)
    with ThreadPoolExecutor(1) as reader:

        def read_next() -> tuple[_Item, Future[_Read]] | None:
            item = next(waiting, None)
            return None if item is None else (item, reader.submit(read, item))

        current = read_next()
        while current is not None:
            item, reading = current
            reading.exception()  # wait: the next item is read only once this one is
            following = read_next()
            del current
            yield work(item, reading.result)
            del reading  # what was read must not outlive the work on it
            current = following
