"""What a run tells whoever started it, and what it asks."""

from collections.abc import Callable
from dataclasses import dataclass


def _do_nothing(*_: object) -> None:
    """Default callback: do nothing."""


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """Callbacks of a run.

    Attributes:
        on_engine: called once with a sentence on what cases are segmented by, where that is not this process.
        on_start: called with a case's name before its first window; on a cluster when a worker gets it.
        on_window: called with the windows done and to do of the current case.
        on_pending: called with a sentence on a case of a watched input that is not complete or clear and stays so, or
            on such an input that cannot be looked at; on a cluster also on a case or a worker that was lost.
        on_wait: called once with the number of cases that other runs are at, when only those are left.
        should_stop: asked between windows and between cases.
    """

    on_engine: Callable[[str], None] = _do_nothing
    on_start: Callable[[str], None] = _do_nothing
    on_window: Callable[[int, int], None] = _do_nothing
    on_pending: Callable[[str], None] = _do_nothing
    on_wait: Callable[[int], None] = _do_nothing
    should_stop: Callable[[], bool] = bool  # bool() is False: nobody stops it
