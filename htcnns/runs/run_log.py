"""The events of a run as JSON lines, for programs that monitor it."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime

from htcnns.errors import OutputError
from htcnns.files.line_log import LineLog
from htcnns.reports.outcome import Outcome
from htcnns.reports.strict_json import json_line
from htcnns.runs.case_reports import run_facts
from htcnns.runs.plan import RunPlan
from htcnns.runs.watcher import Watcher

Say = Callable[..., None]
_OF_AN_OUTCOME = ("case", "state", "seconds", "error", "notes", "mask", "volumes_ml")


@contextmanager
def run_log(plan: RunPlan) -> Iterator[Say]:
    """A function that logs an event by its name and facts; it does nothing if the plan has no log.

    The start of the run is logged here, and so is its end by an error.

    Raises:
        OutputError: a line cannot be written.
    """
    if plan.settings.log is None:
        yield _say_nothing
        return
    number = uuid.uuid4().hex[:8]  # several runs may share a log

    with LineLog(plan.settings.log) as log:

        def say(event: str, **facts: object) -> None:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            log.add(json_line({"event": event, "time": now, "run": number, **facts}))

        say("run start", **_start(plan))
        try:
            yield say
        except BaseException as error:
            with suppress(OutputError):  # the log's own disk may be full
                say("run end", error=str(error) or type(error).__name__)
            raise


def logged(watcher: Watcher, say: Say) -> Watcher:
    """The same callbacks, with starts, pending cases and waits logged first."""

    def on_start(case: str) -> None:
        say("case start", case=case)
        watcher.on_start(case)

    def on_pending(sentence: str) -> None:
        say("pending", sentence=sentence)
        watcher.on_pending(sentence)

    def on_wait(n_cases: int) -> None:
        say("waiting", n_cases=n_cases)
        watcher.on_wait(n_cases)

    return replace(watcher, on_start=on_start, on_pending=on_pending, on_wait=on_wait)


def said_of(outcome: Outcome) -> dict[str, object]:
    """What is logged about a case that has ended."""
    return {name: getattr(outcome, name) for name in _OF_AN_OUTCOME}


def _say_nothing(event: str, **facts: object) -> None:
    """Log nothing."""


def _start(plan: RunPlan) -> dict[str, object]:
    facts = run_facts(plan.ensemble, plan.settings)
    return {
        "n_cases": len(plan.cases),
        "input": plan.input,
        "output": plan.output,
        "device": facts.device,
        "device_note": facts.device_note,
        "precision": facts.precision,
        "environment": facts.environment,
        "members": {member["name"]: member["files"] for member in facts.members},
        "settings": facts.settings,
        "swept": plan.swept,
    }
