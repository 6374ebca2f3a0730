"""An input that is still being filled: its cases as they arrive, each once its files have stopped changing."""

import time
from collections.abc import Callable, Iterable, Iterator

from htcnns.errors import InputError
from htcnns.files.case import Case
from htcnns.files.file_mark import file_mark
from htcnns.files.outputs import CaseOutputs
from htcnns.reports.outcome import Outcome, State, failure_of
from htcnns.runs.batch import Engine, segment_here, segment_on
from htcnns.runs.devices import give_back_freed_memory
from htcnns.runs.resources import Resources
from htcnns.runs.watcher import Watcher

_STOP_S = 0.2  # between two checks whether the watcher stops the run
_Marks = tuple[object, ...]


def watch(
    look: Callable[[], Iterable[CaseOutputs]],
    resources: Resources,
    *,
    watcher: Watcher,
    at_rest: Callable[[], None] = lambda: None,
    engine: Engine = segment_here,
) -> Iterator[Outcome]:
    """Look at an input repeatedly and segment the cases that are complete, clear and unchanged since the last look.

    A case whose files change later is taken again, and kept if it still counts as finished. The run ends when the
    watcher stops it, or when nothing has changed for `until_idle_s`; cases that are still incomplete or unclear then
    fail. Cases that were seen but not reached come last, as not started.

    Args:
        look: function that returns the present cases of the input; an InputError means that they are not known now.
        resources: ensemble and settings; stepped down in place if a device runs out of memory.
        at_rest: called when all cases that were ready at a look are done.
        engine: as in `runs.batch.segment_on`.

    Raises:
        OutputError, SettingsError: as `runs.batch.segment_on` and `look`.
    """
    settings = resources.settings
    pause_s, until_idle_s = settings.watch_s or 0.0, settings.until_idle_s
    arrivals = Arrivals(most_missing=settings.most_missing, on_pending=watcher.on_pending)
    finished: set[str] = set()
    quiet_since, is_over = time.monotonic(), False
    while not is_over and not watcher.should_stop():
        ready, has_news = arrivals.take(look)
        is_quiet = not (ready or has_news)
        if is_quiet and until_idle_s is not None and time.monotonic() - quiet_since >= until_idle_s:
            ready, is_over = list(arrivals.left.values()), True
        for outcome in segment_on(resources, ready, watcher=watcher, engine=engine):
            arrivals.left.pop(outcome.case, None)
            if outcome.state is not State.KEPT or outcome.case not in finished:
                yield outcome
            if outcome.state is not State.FAILED:
                finished.add(outcome.case)
        if ready:
            at_rest()
        if is_quiet:
            give_back_freed_memory()
        else:
            quiet_since = time.monotonic()
        if not is_over:
            _pause(pause_s, watcher)
    for name in sorted(arrivals.left):
        yield Outcome(case=name, state=State.NOT_STARTED)


class Arrivals:
    """The cases that have arrived in an input, look by look; changes with every call.

    Attributes:
        left: cases of the last look, by name, that are not done in their present state.
    """

    def __init__(self, *, most_missing: int, on_pending: Callable[[str], None]) -> None:
        self.left: dict[str, CaseOutputs] = {}
        self._most_missing = most_missing
        self._on_pending = on_pending
        self._seen: dict[str, _Marks] = {}
        self._taken: dict[str, _Marks] = {}
        self._told: set[str] = set()

    def take(self, look: Callable[[], Iterable[CaseOutputs]]) -> tuple[list[CaseOutputs], bool]:
        """The cases that are ready and not yet taken in their present state, and whether anything has changed.

        A reason why an unchanged case is incomplete or unclear is reported once.
        """
        try:
            found = {outputs.case.name: outputs for outputs in look()}
        except InputError as error:
            self._tell(str(error))
            return [], False
        marks = {name: _marks(outputs.case) for name, outputs in found.items()}
        before, self._seen = self._seen, marks
        self.left = {name: outputs for name, outputs in found.items() if self._taken.get(name) != marks[name]}
        settled = [outputs for name, outputs in self.left.items() if before.get(name) == marks[name]]
        ready = [outputs for outputs in settled if self._is_whole(outputs.case)]
        self._taken |= {outputs.case.name: marks[outputs.case.name] for outputs in ready}
        return ready, before != marks

    def _is_whole(self, case: Case) -> bool:
        try:
            case.require_complete(most_missing=self._most_missing)
        except InputError as error:
            self._tell(failure_of(case.name, error).sentence)
            return False
        return True

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self._on_pending(sentence)


def _marks(case: Case) -> _Marks:
    """A value that changes while a case's files are being written."""
    paths = (*case.files.values(), *(path for path, _ in case.unread))
    return (*((path, file_mark(path)) for path in paths), str(case.fault or ""))


def _pause(seconds: float, watcher: Watcher) -> None:
    """Wait until the next look, or until the watcher stops the run."""
    until = time.monotonic() + seconds
    while not watcher.should_stop() and (left := until - time.monotonic()) > 0:
        time.sleep(min(_STOP_S, left))
