"""Callbacks by which a run reports to its caller, and asks whether to stop."""

from collections.abc import Callable
from dataclasses import dataclass


def _do_nothing(*_: object) -> None:
    """Default callback: do nothing."""


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """Callbacks of a run.

    Attributes:
        on_engine: called once with a sentence on the workers, if cases are not segmented in this process.
        on_start: called with a case's name before its first window; on a cluster when a worker gets it.
        on_window: called with the number of windows done in the current case, and their total.
        on_pending: called with a sentence on a case of a watched input that stays incomplete or unclear, or on a
            watched input that cannot be read; on a cluster also on a case or a worker that was lost.
        on_wait: called once with the number of cases that other runs are working on, when only those are left.
        should_stop: called between windows and between cases; True stops the run.
    """

    on_engine: Callable[[str], None] = _do_nothing
    on_start: Callable[[str], None] = _do_nothing
    on_window: Callable[[int, int], None] = _do_nothing
    on_pending: Callable[[str], None] = _do_nothing
    on_wait: Callable[[int], None] = _do_nothing
    should_stop: Callable[[], bool] = bool  # bool() is False: nobody stops it
