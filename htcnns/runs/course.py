"""The course of a planned run: its batches, its log, and its report however it ends."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial

from htcnns.files.atomic import write_named
from htcnns.reports.outcome import Outcome, State
from htcnns.reports.strict_json import json_text
from htcnns.runs.batch import Engine, segment_here, segment_on
from htcnns.runs.case_reports import run_facts
from htcnns.runs.cluster import start_crew
from htcnns.runs.cohort import write_cohort
from htcnns.runs.plan import RunPlan, look_again
from htcnns.runs.resources import Resources
from htcnns.runs.run_log import logged, run_log, said_of
from htcnns.runs.settings import EngineName
from htcnns.runs.watch import watch
from htcnns.runs.watcher import Watcher

REPORT_FORMAT = 4


def run(plan: RunPlan, *, watcher: Watcher, on_outcome: Callable[[Outcome], None]) -> list[Outcome]:
    """Segment the cases of the plan and write the report of the run or of all cases, even if the batch ends early.

    Args:
        on_outcome: called with each outcome as it comes.

    Returns:
        One outcome per case in the order of the plan, including cases that were not reached; then cases that arrived
        later in a watched input.

    Raises:
        OutputError: the disk is full or a folder cannot be written any more.
    """
    with _started(plan, watcher) as (started, engine):
        return _run(started, engine, watcher=watcher, on_outcome=on_outcome)


@contextmanager
def _started(plan: RunPlan, watcher: Watcher) -> Iterator[tuple[RunPlan, Engine]]:
    """The plan, with the device that its cases are computed on, and the engine that segments them."""
    if plan.settings.engine == EngineName.LOCAL:
        yield plan, segment_here
        return
    with start_crew(Resources(plan.ensemble, plan.settings), watcher=watcher) as crew:
        for first in crew.stations[:1]:  # none if the run was stopped meanwhile
            watcher.on_engine(f"{crew.n_workers} workers; the first is on {first}")
            plan = replace(plan, ensemble=first.described(plan.ensemble))
        yield plan, crew.segment


def _run(plan: RunPlan, engine: Engine, *, watcher: Watcher, on_outcome: Callable[[Outcome], None]) -> list[Outcome]:
    """As `run`, with the engine that segments the cases."""
    seen: dict[str, Outcome] = {}
    began = time.perf_counter()
    with run_log(plan) as say:
        try:
            for outcome in _course(plan, engine, logged(watcher, say), at_rest=lambda: _list_all(plan, seen.values())):
                if outcome.state is State.NOT_STARTED:
                    seen.setdefault(outcome.case, outcome)  # a case that changed after it was done stays done
                else:
                    seen[outcome.case] = outcome
                    say("case end", **said_of(outcome))
                    on_outcome(outcome)
        finally:
            seconds = time.perf_counter() - began
            names = dict.fromkeys((*(outputs.case.name for outputs in plan.cases), *seen))
            outcomes = [seen.get(name, Outcome(case=name, state=State.NOT_STARTED)) for name in names]
            if plan.settings.report_file:
                write_named(plan.settings.report_file, json_text(_report(plan, outcomes, seconds)).encode())
            _list_all(plan, outcomes)
        say("run end", seconds=seconds, states={state: count(outcomes, state) for state in State})
    return outcomes


def _course(plan: RunPlan, engine: Engine, watcher: Watcher, at_rest: Callable[[], None]) -> Iterator[Outcome]:
    """The outcomes of the plan's cases, and of those that arrive later if the input is watched."""
    resources = Resources(plan.ensemble, plan.settings)
    if plan.settings.watch_s is None:
        return segment_on(resources, plan.cases, watcher=watcher, engine=engine)
    return watch(partial(look_again, plan), resources, watcher=watcher, at_rest=at_rest, engine=engine)


def _list_all(plan: RunPlan, outcomes: Iterable[Outcome]) -> None:
    """Write the report of all cases into the folder for reports, if there is one."""
    if plan.settings.report_folder:
        write_cohort(plan.settings.report_folder, outcomes)


def count(outcomes: Iterable[Outcome], state: State) -> int:
    """The number of cases in that state."""
    return sum(outcome.state is state for outcome in outcomes)


def _report(plan: RunPlan, outcomes: list[Outcome], seconds: float) -> dict:
    """The report's content; plain data and dataclasses."""
    facts = run_facts(plan.ensemble, plan.settings)
    return {
        "format": REPORT_FORMAT,
        **{field.name: getattr(facts, field.name) for field in fields(facts)},
        "input": plan.input,
        "output": plan.output,
        "seconds": round(seconds, 3),
        "n_done": count(outcomes, State.DONE),
        "n_failed": count(outcomes, State.FAILED),
        "cases": outcomes,
        "not_used": plan.not_used,
    }
