"""Many cases: what is finished is kept, and a bad case costs only itself."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from htcnns.errors import DeviceMemoryError, InputError, OutputError, TakenError
from htcnns.files.claims import Claims
from htcnns.files.finished import kept_notes
from htcnns.files.outputs import (
    CaseOutputs,
    remove_report,
    require_free_places,
    stand_in,
    write_maps,
    write_mask,
    write_picture,
)
from htcnns.labels import SEQUENCES, Region, Sequence
from htcnns.reports.outcome import Outcome, State, failure_of
from htcnns.reports.picture import Legend, picture, png_bytes
from htcnns.runs.case_reports import write_failed, write_finished
from htcnns.runs.ensemble import Ensemble, Stopped, n_windows
from htcnns.runs.local import TooLong, run_local
from htcnns.runs.pipeline import ReadyCase, Segmentation, prepare_case, segment_prepared
from htcnns.runs.resources import Resources
from htcnns.runs.settings import OnFailure, RunSettings
from htcnns.runs.watcher import Watcher

Read = Callable[[], ReadyCase | Outcome | None]
_WAIT_S = 0.5  # before cases that other runs are at are tried again


def segment_batch(
    cases: Iterable[CaseOutputs], ensemble: Ensemble, settings: RunSettings, *, watcher: Watcher
) -> Iterator[Outcome]:
    """As `segment_on`, on fresh resources."""
    return segment_on(Resources(ensemble, settings), cases, watcher=watcher)


def segment_on(resources: Resources, cases: Iterable[CaseOutputs], *, watcher: Watcher) -> Iterator[Outcome]:
    """Segment cases: one outcome after another, first those that an earlier run finished, then the others in order.

    The next case is read while the networks work on the current one. A full or unwritable disk ends the batch,
    anything else only the case, whether it is looked at, segmented or replaced by an empty mask. When the watcher stops
    it, the case at hand and those after it get no outcome. A case that another run into the same folder is at comes
    last: it is kept if that run finished it, and segmented if that run ended before.

    Args:
        resources: changed where a device's memory is not enough.
        cases: cases and their output files, no two of which are the same.

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
    with Claims() as claims:
        try:
            yield from _in_turn(waiting, resources, watcher, claims)
        except Stopped:
            return


def _in_turn(waiting: list[CaseOutputs], resources: Resources, watcher: Watcher, claims: Claims) -> Iterator[Outcome]:
    """One outcome after another; cases that other runs are at are tried again until there are none."""
    is_told = False
    while waiting:
        outcomes = run_local(
            waiting,
            read=partial(_read, resources=resources, claims=claims),
            work=partial(_work, resources=resources, watcher=watcher, claims=claims),
            limit_s=resources.settings.time_limit_s,
        )
        taken = []
        for outputs, outcome in zip(waiting, outcomes, strict=True):
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
    """The outcome of a case that an earlier run finished, or that nobody can tell of; None where it must be done."""
    settings, case = resources.settings, outputs.case
    if settings.again or case.fault or len(case.missing) > settings.most_missing:  # as another run may have allowed
        return None
    try:
        notes = kept_notes(outputs, is_asked=settings.labels is not None, method=resources.method)
    except Exception as error:  # part of the case boundary
        return _fail(outputs, error, on_failure=settings.on_failure, seconds=0.0)
    if notes is None:
        return None
    return Outcome(case=case.name, state=State.KEPT, mask=outputs.mask, notes=notes)


def _read(outputs: CaseOutputs, *, resources: Resources, claims: Claims) -> ReadyCase | Outcome | None:
    """The case, or its outcome where another run has finished it by now; None while another run is at it."""
    if not claims.take(outputs.mask):
        return None
    if done := _done_before(outputs, resources):
        return done
    require_free_places(outputs)
    most_missing, is_reported = resources.settings.most_missing, outputs.report is not None
    return prepare_case(outputs.case, resources.ensemble, most_missing=most_missing, wants_digests=is_reported)


def _work(
    outputs: CaseOutputs, read: Read, *, resources: Resources, watcher: Watcher, claims: Claims
) -> Outcome | None:
    """The outcome of one case, its files written; None while another run is at it."""
    if watcher.should_stop():
        raise Stopped
    watcher.on_start(outputs.case.name)
    settings = resources.settings
    began = time.perf_counter()
    try:
        found = read()
        if not isinstance(found, ReadyCase):
            return found
        answer = _segment_as_fits(found, outputs, resources, watcher)
        outcome = _write(outputs, found, answer, began)
        return _reported(outcome, lambda: write_finished(outputs, found, answer, outcome, resources=resources))
    except Stopped:
        raise
    except Exception as error:  # the case boundary: whatever a case does, the others go on
        if _is_of_the_disk(error):
            raise
        if isinstance(error, TooLong):
            error = _too_long(error, settings)
        failed = _fail(outputs, error, on_failure=settings.on_failure, seconds=time.perf_counter() - began)
        return _reported(failed, lambda: write_failed(outputs, failed, resources=resources))
    finally:
        claims.give_back(outputs.mask)


def _segment_as_fits(prepared: ReadyCase, outputs: CaseOutputs, resources: Resources, watcher: Watcher) -> Segmentation:
    """As `_segment`, again with less at a time where the device's memory is not enough; a note says so."""
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


def _write(outputs: CaseOutputs, prepared: ReadyCase, answer: Segmentation, began: float) -> Outcome:
    """Write mask, probability maps and picture."""
    found = time.perf_counter()
    remove_report(outputs)
    if answer.probabilities is not None:
        write_maps(outputs, answer.probabilities, affine=prepared.affine)
    write_mask(outputs, answer.label_map, affine=prepared.affine)
    notes = answer.notes + _draw(outputs, prepared, answer)
    return Outcome(
        case=outputs.case.name,
        state=State.DONE,
        mask=outputs.mask,
        label_set=outputs.numbers.name,
        labels={label.name: number for label, number in outputs.numbers.given_by(answer.regions).items()},
        volumes_ml=answer.volumes_ml,
        label_volumes_ml={label.name: volume for label, volume in answer.label_volumes_ml.items()},
        members=answer.members,
        missing=outputs.case.missing,
        notes=notes,
        seconds=time.perf_counter() - began,
        forward_s=answer.forward_s,
        n_windows=answer.n_windows,
        steps_s=answer.seconds | {"write": time.perf_counter() - found},
    )


def _reported(outcome: Outcome, write: Callable[[], None]) -> Outcome:
    """The outcome, its report written; with a note where that fails, as the mask is good without it."""
    try:
        write()
    except Exception as error:
        if _is_of_the_disk(error):
            raise
        return replace(outcome, notes=(*outcome.notes, f"no report: {failure_of(outcome.case, error).sentence}"))
    return outcome


def _draw(outputs: CaseOutputs, prepared: ReadyCase, answer: Segmentation) -> tuple[str, ...]:
    """Write the picture where one is wanted; a note if it cannot be drawn, as the mask is good without it."""
    if not outputs.picture:
        return ()
    array = prepared.prepared.array
    shown = {sequence: array[SEQUENCES.index(sequence)] for sequence in (Sequence.T1C, Sequence.T2F)}
    name = outputs.case.name
    try:
        pixels = picture(shown, answer.grid_label_map, (1.0, 1.0, 1.0), legend=_legend(answer), title=name)
        write_picture(outputs, png_bytes(pixels))
    except Exception as error:  # whatever a picture does, the mask stays
        if _is_of_the_disk(error):
            raise
        return (f"no picture: {failure_of(name, error).sentence}",)
    return ()


def _legend(answer: Segmentation) -> Legend:
    """The volumes of the report, for the picture."""
    volumes_ml = answer.label_volumes_ml
    return Legend(volumes_ml, sum(volumes_ml[label] for label in Region.WT.value if label in volumes_ml))


def _fail(outputs: CaseOutputs, error: Exception, *, on_failure: str, seconds: float) -> Outcome:
    """The outcome of a case that failed, with an empty mask where the settings want one and its name can be."""
    failure = failure_of(outputs.case.name, error)
    has_mask, note = _stand_in(outputs) if on_failure == OnFailure.EMPTY else (False, "")
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
    """What a case that took too long is reported as."""
    return InputError(
        "took too long",
        found=str(error) or "still being read",
        expected=f"at most {settings.time_limit_s:g} s",
        remedy="Raise the time limit, or see what holds its files up.",
    )


def _stand_in(outputs: CaseOutputs) -> tuple[bool, str]:
    """As `files.outputs.stand_in`, inside the case boundary."""
    try:
        return stand_in(outputs)
    except Exception as error:
        if _is_of_the_disk(error):
            raise
        return False, f"no empty mask was written in its place: {failure_of(outputs.case.name, error).sentence}"


def _is_of_the_disk(error: Exception) -> bool:
    """Whether a full or unwritable disk is the reason, so that no case could be written."""
    return isinstance(error, OutputError) and not isinstance(error, TakenError)
