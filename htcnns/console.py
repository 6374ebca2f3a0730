"""How a run speaks to people: a progress bar on a terminal, one line a case elsewhere, and signals."""

import os
import shlex
import signal
import sys
import time
from pathlib import Path
from types import FrameType, TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from htcnns.errors import EXIT_CASE_FAILED, EXIT_DONE, HtcnnsError
from htcnns.runs.batch import DONE, FAILED, KEPT, NOT_STARTED, Outcome, Watcher
from htcnns.runs.demo import compare, make_demo
from htcnns.runs.devices import precision_name
from htcnns.runs.folder import Request, Start, n_failed, prepare, run
from htcnns.terminal import one_line

N_NAMED = 3  # of the files that were not used


class StopRequest:
    """Turns SIGINT and SIGTERM into a request that the run answers between two windows; a second one kills at once."""

    def __init__(self) -> None:
        self.number = 0

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wanted(self) -> bool:
        """Whether a signal has come."""
        return self.number != 0

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.number:
            os._exit(128 + number)  # as process 1 of a container the default handler would do nothing
        self.number = number


def run_and_tell(request: Request, *, any_success_is_success: bool = False) -> int:
    """Run a request, print what happens, and give the exit code.

    Args:
        any_success_is_success: 0 as soon as one case succeeded, as challenge runners need; else 7 when one failed.

    Raises:
        HtcnnsError: what stops the run before or in the middle of the work.
    """
    outcomes, signal_number = _run(request)
    if signal_number:
        return 128 + signal_number
    if any_success_is_success and any(outcome.state in (DONE, KEPT) for outcome in outcomes):
        return EXIT_DONE
    return EXIT_CASE_FAILED if n_failed(outcomes) else EXIT_DONE


def demo_and_tell(folder: Path) -> int:
    """Make the synthetic case, segment it, compare with what is known, and say where the files lie."""
    phantom, request = make_demo(folder)
    outcomes, signal_number = _run(request)
    if signal_number:
        return 128 + signal_number
    if outcomes[0].mask is None:
        return EXIT_CASE_FAILED
    compare(phantom, outcomes[0], tell=print)
    print(f"mask     {outcomes[0].mask}\npicture  {folder / 'previews' / (outcomes[0].case + '.png')}")
    print(f"report   {request.report}")
    return EXIT_DONE


def _run(request: Request) -> tuple[list[Outcome], int]:
    """Run a request and print what happens; the outcomes, and the number of the signal that came, or 0."""
    with StopRequest() as stop:
        start = prepare(request)
        teller = Teller(start)
        teller.greet(request)
        with teller.progress:
            outcomes = run(request, start, watcher=teller.watcher(stop))
        teller.farewell(outcomes)
    return outcomes, stop.number


def tell_error(error: HtcnnsError) -> int:
    """Print a mistake's sentence on stderr and give its exit code."""
    print(f"htcnns: {one_line(str(error))}", file=sys.stderr)
    return error.exit_code


class Teller:
    """Prints the course of one run."""

    def __init__(self, start: Start) -> None:
        self.console = Console(soft_wrap=True, highlight=False)
        self.start = start
        self.n_cases = len(start.cases)
        self.n_told = 0
        self.n_kept = 0
        self.began = time.perf_counter()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self.bar = self.progress.add_task("", total=None)

    def watcher(self, stop: StopRequest) -> Watcher:
        """The watcher that a batch reports to."""
        return Watcher(
            on_start=lambda _, name: self.progress.reset(self.bar, description=escape(one_line(name)), total=None),
            on_window=lambda done, total: self.progress.update(self.bar, completed=done, total=total),
            on_outcome=self.tell,
            should_stop=stop.wanted,
        )

    def greet(self, request: Request) -> None:
        """One line on what runs where, and one on the files that belong to no case."""
        ensemble = self.start.ensemble
        names = ", ".join(member.name for member in ensemble.members)
        self._print(
            f"{self.n_cases} cases in {request.input}; {names} on {ensemble.device} in "
            f"{precision_name(ensemble.precision)}, fused by {request.batch.fusion}"
        )
        if ensemble.note:
            self._print(ensemble.note)
        others = [leftover.path.name for leftover in self.start.not_used]
        if others:
            more = f" and {len(others) - N_NAMED} more" if len(others) > N_NAMED else ""
            self._print(
                f"{len(others)} files were not used: {', '.join(others[:N_NAMED])}{more}; "
                f"htcnns cases {shlex.quote(str(request.input))} tells why and what to rename"
            )
        if self.start.swept:
            self._print(f"removed {len(self.start.swept)} temporary files that a killed run had left")

    def tell(self, outcome: Outcome) -> None:
        """One line on a case, and one on each of its notes."""
        self.n_told += 1
        count = f"[{self.n_told}/{self.n_cases}]"
        if outcome.state == KEPT:
            self.n_kept += 1
            self._print(f"{count} {outcome.case}: kept, finished before (--again makes it anew)")
        elif outcome.state == FAILED:
            self._print(f"{count} FAILED {outcome.error}")
        else:
            volumes = ", ".join(f"{name} {volume:.1f} ml" for name, volume in outcome.volumes_ml.items())
            numbers = " ".join(f"{name}={number}" for name, number in outcome.labels.items())
            self._print(f"{count} {outcome.case}: {volumes}; labels {numbers}; {outcome.seconds:.1f} s{self._left()}")
        for note in outcome.notes:
            self._print(f"      {note}")

    def farewell(self, outcomes: list[Outcome]) -> None:
        """One line on all cases, and the names of those that failed or were not begun."""
        counts = {state: [o.case for o in outcomes if o.state == state] for state in (DONE, KEPT, FAILED, NOT_STARTED)}
        self._print(", ".join(f"{len(names)} {state}" for state, names in counts.items() if names))
        for state in (FAILED, NOT_STARTED):
            if counts[state]:
                self._print(f"{state}: {', '.join(counts[state])}")

    def _left(self) -> str:
        remaining = self.n_cases - self.n_told
        n_worked = self.n_told - self.n_kept
        if not remaining:
            return ""
        minutes = (time.perf_counter() - self.began) / max(1, n_worked) * remaining / 60
        return f", about {minutes:.0f} min left" if minutes >= 1 else ""

    def _print(self, text: str) -> None:
        if self.console.quiet:
            return
        try:
            self.console.print(one_line(text), markup=False)
        except (OSError, SystemExit):  # whoever read along has gone; the masks matter more
            self.console.quiet = True
