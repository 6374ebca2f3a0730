"""Many cases: finished ones are kept, and a case that fails does not stop the others."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial

from htcnns.errors import DeviceMemoryError, InputError, is_of_the_disk
from htcnns.files.claims import Claims
from htcnns.files.finished import kept_notes, require_no_work_of_others
from htcnns.files.outputs import CaseOutputs, require_free_places, stand_in
from htcnns.reports.outcome import Outcome, State, failure_of
from htcnns.runs.case_files import write_case
from htcnns.runs.case_reports import write_failed, write_finished
from htcnns.runs.ensemble import Ensemble, Stopped, n_windows
from htcnns.runs.local import TooLong, run_local
from htcnns.runs.pipeline import ReadyCase, Segmentation, prepare_case, segment_prepared
from htcnns.runs.resources import Resources
from htcnns.runs.settings import OnFailure, RunSettings
from htcnns.runs.watcher import Watcher

Read = Callable[[], ReadyCase | Outcome | None]
Worked = Iterator[tuple[CaseOutputs, Outcome | None]]
Engine = Callable[..., Worked]  # called as `segment_here`, without the turn
_WAIT_S = 0.5  # before trying again the cases that other runs are working on


def segment_here(
    resources: Resources, cases: list[CaseOutputs], *, watcher: Watcher, turn: AbstractContextManager | None = None
) -> Worked:
    """Yield each case with its outcome, in the given order; the outcome is None while another run has the case.

    The next case is read while the networks work on the current one.

    Args:
        turn: context that is entered while a case is worked on, if other threads use the networks too.

    Raises:
        Stopped: the watcher has stopped the run.
        OutputError: as `segment_on`.
    """
    with Claims() as claims:
        outcomes = run_local(
            cases,
            read=partial(_read, resources=resources, claims=claims),
            work=partial(_work, resources=resources, watcher=watcher, claims=claims, turn=turn or nullcontext()),
            limit_s=resources.settings.time_limit_s,
        )
        yield from zip(cases, outcomes, strict=True)


def segment_on(
    resources: Resources, cases: Iterable[CaseOutputs], *, watcher: Watcher, engine: Engine = segment_here
) -> Iterator[Outcome]:
    """Segment cases and yield their outcomes, first those of cases that an earlier run finished.

    A full or unwritable disk ends the batch; any other error ends only its case, whether it occurs while looking for
    finished work, segmenting or writing an empty mask. If the watcher stops the run, the cases in progress and those
    after them get no outcome. A case that another run into the same folder is working on comes last: it is kept if that
    run finishes it, and segmented if that run ends without finishing it.

    Args:
        resources: ensemble and settings; stepped down in place if a device runs out of memory.
        cases: cases and their output files, no two of which are the same.
        engine: function that segments the cases.

    Raises:
        OutputError: a file cannot be written; the cases before it are finished.
    """
    waiting = []
    for outputs in cases:
        if watcher.should_stop():
            return
        done = _done_before(outputs, resources)
        if done and done.state is State.FAILED:
            yield _reported(done, partial(write_failed, outputs, done, resources=resources))
        elif done:
            yield done
        else:
            waiting.append(outputs)
    try:
        yield from _until_none_waits(waiting, resources, watcher, engine)
    except Stopped:
        return


def failed_case(
    outputs: CaseOutputs, error: Exception, *, resources: Resources, seconds: float, is_readable: bool = True
) -> Outcome:
    """The outcome of a failed case, after writing its report and, if the settings ask for one, an empty mask.

    Args:
        is_readable: whether the scans may be read for the grid of that mask; False if reading them may hang.
    """
    on_failure = resources.settings.on_failure
    failed = _fail(outputs, error, on_failure=on_failure, seconds=seconds, is_readable=is_readable)
    return _reported(failed, lambda: write_failed(outputs, failed, resources=resources))


def _until_none_waits(
    waiting: list[CaseOutputs], resources: Resources, watcher: Watcher, engine: Engine
) -> Iterator[Outcome]:
    """Yield outcomes; cases that other runs are working on are tried again until none is left."""
    is_told = False
    while waiting:
        taken = []
        for outputs, outcome in engine(resources, waiting, watcher=watcher):
            if outcome:
                yield outcome
            else:
                taken.append(outputs)
        if taken and not is_told:
            watcher.on_wait(len(taken))
            is_told = True
        if taken:
            time.sleep(_WAIT_S)
        waiting = taken


def _done_before(outputs: CaseOutputs, resources: Resources) -> Outcome | None:
    """The outcome of a case that an earlier run finished, or whose check failed; None if it must be segmented."""
    settings, case = resources.settings, outputs.case
    if settings.again or case.fault or len(case.missing) > settings.most_missing:  # an earlier run may have allowed it
        return None
    try:
        notes = kept_notes(outputs, is_asked=settings.labels is not None, method=resources.method)
    except Exception as error:  # part of the case boundary
        return _fail(outputs, error, on_failure=settings.on_failure, seconds=0.0)
    if notes is None:
        return None
    return Outcome(case=case.name, state=State.KEPT, mask=outputs.mask, notes=notes)


def _read(outputs: CaseOutputs, *, resources: Resources, claims: Claims) -> ReadyCase | Outcome | None:
    """The prepared case, or its outcome if another run has finished it by now; None while another run works on it."""
    if not claims.take(outputs.mask):
        return None
    if done := _done_before(outputs, resources):
        return done
    require_free_places(outputs)
    if not resources.settings.again:
        require_no_work_of_others(outputs)
    most_missing, is_reported = resources.settings.most_missing, outputs.report is not None
    return prepare_case(outputs.case, resources.ensemble, most_missing=most_missing, wants_digests=is_reported)


def _work(
    outputs: CaseOutputs,
    read: Read,
    *,
    resources: Resources,
    watcher: Watcher,
    claims: Claims,
    turn: AbstractContextManager,
) -> Outcome | None:
    """The outcome of one case, after writing its files; None while another run works on it."""
    with turn:
        if watcher.should_stop():
            raise Stopped
        began = time.perf_counter()
        try:
            found = _told(outputs, read, watcher)
            if not isinstance(found, ReadyCase):
                return found
            answer = _segment_as_fits(found, outputs, resources, watcher)
            outcome = write_case(outputs, found, answer, began=began)
            return _reported(outcome, lambda: write_finished(outputs, found, answer, outcome, resources=resources))
        except Stopped:
            raise
        except Exception as error:  # the case boundary: whatever a case does, the others go on
            if is_of_the_disk(error):
                raise
            hangs = isinstance(error, TooLong) and not str(error)
            if isinstance(error, TooLong):
                error = _too_long(error, resources.settings)
            seconds = time.perf_counter() - began
            return failed_case(outputs, error, resources=resources, seconds=seconds, is_readable=not hangs)
        finally:
            claims.give_back(outputs.mask)


def _told(outputs: CaseOutputs, read: Read, watcher: Watcher) -> ReadyCase | Outcome | None:
    """What `read` returns or raises; the watcher is notified of the start, unless another run has or had the case."""
    try:
        found = read()
    except Exception:  # a case that cannot be read has started, too
        watcher.on_start(outputs.case.name)
        raise
    if isinstance(found, ReadyCase):
        watcher.on_start(outputs.case.name)
    return found


def _segment_as_fits(prepared: ReadyCase, outputs: CaseOutputs, resources: Resources, watcher: Watcher) -> Segmentation:
    """As `_segment`, tried again after a step down if the device runs out of memory; each step adds a note."""
    notes: list[str] = []
    while True:
        try:
            answer = _segment(prepared, outputs, resources.ensemble, resources.settings, watcher)
        except DeviceMemoryError as error:
            notes.append(resources.step_down(error))
        else:
            return replace(answer, notes=(*notes, *answer.notes))


def _segment(
    prepared: ReadyCase, outputs: CaseOutputs, ensemble: Ensemble, settings: RunSettings, watcher: Watcher
) -> Segmentation:
    began = time.monotonic()
    total = n_windows(ensemble, prepared.prepared, overlap=settings.overlap)
    done = 0

    def on_window() -> None:
        nonlocal done
        done += settings.batch
        watcher.on_window(min(done, total), total)
        if watcher.should_stop():
            raise Stopped
        if settings.time_limit_s is not None and time.monotonic() - began > settings.time_limit_s:
            raise TooLong(f"{min(done, total)} of {total} windows done")

    return segment_prepared(prepared, ensemble, settings=settings, numbers=outputs.numbers, on_window=on_window)


def _reported(outcome: Outcome, write: Callable[[], None]) -> Outcome:
    """The outcome, after writing its report; if that fails, with a note, as the mask is valid without a report."""
    try:
        write()
    except Exception as error:
        if is_of_the_disk(error):
            raise
        return replace(outcome, notes=(*outcome.notes, f"no report: {failure_of(outcome.case, error).sentence}"))
    return outcome


def _fail(
    outputs: CaseOutputs, error: Exception, *, on_failure: str, seconds: float, is_readable: bool = True
) -> Outcome:
    """The outcome of a failed case, with an empty mask if the settings ask for one and it can be written."""
    failure = failure_of(outputs.case.name, error)
    has_mask, note = _stand_in(outputs, is_readable) if on_failure == OnFailure.EMPTY else (False, "")
    return Outcome(
        case=outputs.case.name,
        state=State.FAILED,
        mask=outputs.mask if has_mask else None,
        error=failure.sentence,
        trace=failure.trace,
        notes=(note,) if note else (),
        seconds=seconds,
    )


def _too_long(error: TooLong, settings: RunSettings) -> InputError:
    """The error of a case that exceeded the time limit."""
    return InputError(
        "took too long",
        found=str(error) or "still being read",
        expected=f"at most {settings.time_limit_s:g} s",
        remedy="Raise the time limit, or see what holds its files up.",
    )


def _stand_in(outputs: CaseOutputs, is_readable: bool) -> tuple[bool, str]:
    """As `files.outputs.stand_in`, but an error other than the disk's becomes the note."""
    try:
        return stand_in(outputs, is_readable=is_readable)
    except Exception as error:
        if is_of_the_disk(error):
            raise
        return False, f"no empty mask was written in its place: {failure_of(outputs.case.name, error).sentence}"
