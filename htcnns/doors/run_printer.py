"""How a run is shown to people: one line per case, a progress bar on a terminal, and signals."""

import shlex
import signal
import time
from pathlib import Path
from types import FrameType, TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from htcnns.doors.terminal import counted, flag, one_line, rough_time
from htcnns.errors import EXIT_CASE_FAILED, EXIT_DONE
from htcnns.files.cohort_files import cohort_files
from htcnns.reports.outcome import Outcome, State
from htcnns.runs.course import count, run
from htcnns.runs.devices import keep_freed_memory, precision_name
from htcnns.runs.plan import RunPlan, plan_run
from htcnns.runs.settings import EngineName, RunSettings
from htcnns.runs.watcher import Watcher

N_NAMED = 20  # maximum number of unused files that are named


class StopRequest:
    """Turns SIGINT and SIGTERM into a request to stop between two windows; a second signal ends the run at once.

    Attributes:
        number: number of the signal received; 0 before.
    """

    def __init__(self) -> None:
        self.number = 0

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wanted(self) -> bool:
        """Whether a signal was received."""
        return self.number != 0

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.number:
            raise SystemExit(128 + number)  # in process 1 of a container the default handler would do nothing
        self.number = number


def segment_and_print(input: Path, output: Path, settings: RunSettings, *, any_success_is_success: bool = False) -> int:
    """Segment a folder, print what happens, and return the exit code.

    Args:
        any_success_is_success: whether one successful case makes the code 0, as challenge runners need; otherwise one
            failed case makes it 7.

    Raises:
        HtcnnsError: whatever stops the run before or in the middle of the work.
    """
    outcomes, signal_number = run_and_print(input, output, settings)
    if signal_number:
        return 128 + signal_number
    if any_success_is_success and count(outcomes, State.DONE) + count(outcomes, State.KEPT):
        return EXIT_DONE
    return EXIT_CASE_FAILED if count(outcomes, State.FAILED) else EXIT_DONE


def run_and_print(input: Path, output: Path, settings: RunSettings) -> tuple[list[Outcome], int]:
    """Segment a folder, print what happens, and return the outcomes and the number of the signal received, or 0."""
    keep_freed_memory()
    with StopRequest() as stop:
        plan = plan_run(input, output, settings)
        printer = RunPrinter(plan)
        printer.greet()
        with printer.progress:
            outcomes = run(plan, watcher=printer.watcher(stop), on_outcome=printer.print_outcome)
        printer.sum_up(outcomes)
    return outcomes, stop.number


class RunPrinter:
    """Prints the course of one run."""

    def __init__(self, plan: RunPlan) -> None:
        self.console = Console(soft_wrap=True, highlight=False, emoji=False)
        self.plan = plan
        self.n_cases = len(plan.cases)
        self.n_printed = 0
        self.n_kept = 0
        self.work_began = 0.0  # when the first case was started, as kept cases say nothing about the others
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self.bar = self.progress.add_task("", total=None)

    def watcher(self, stop: StopRequest) -> Watcher:
        """The callbacks that move the progress bar."""
        return Watcher(
            on_engine=self._print,
            on_start=self._start,
            on_window=lambda done, total: self.progress.update(self.bar, completed=done, total=total),
            on_pending=lambda sentence: self._print(f"not yet: {sentence}"),
            on_wait=lambda n: self._print(f"waiting for {counted(n, 'case')} claimed by another run into this folder"),
            should_stop=stop.wanted,
        )

    def greet(self) -> None:
        """Print one line on what runs where, and one on the files that belong to no case."""
        plan, ensemble = self.plan, self.plan.ensemble
        names = ", ".join(member.name for member in ensemble.members)
        shard = f" (shard {plan.settings.shard})" if plan.settings.shard else ""
        listed = f" of {plan.settings.case_list}" if plan.settings.case_list else ""
        watched = f", watched every {plan.settings.watch_s:g} s" if plan.settings.watch_s else ""
        place = f"{ensemble.device} in {precision_name(ensemble.precision)}"
        self._print(
            f"{counted(self.n_cases, 'case')}{listed}{shard} in {plan.input}{watched}; {names} on "
            f"{place if plan.settings.engine == EngineName.LOCAL else 'Ray'}, fused by {plan.settings.fusion}"
        )
        if ensemble.note:
            self._print(ensemble.note)
        others = [leftover.path.name for leftover in plan.not_used]
        if others:
            more = f" and {len(others) - N_NAMED} more" if len(others) > N_NAMED else ""
            listed = f" {flag('case_list')} {shlex.quote(str(plan.settings.case_list))}" if listed else ""
            self._print(
                f"not used, {counted(len(others), 'file')}: {', '.join(others[:N_NAMED])}{more}; "
                f"htcnns cases {shlex.quote(str(plan.input))}{listed} says why and what to rename"
            )
        if plan.swept:
            self._print(f"removed {counted(len(plan.swept), 'temporary file')} left by a killed run")

    def print_outcome(self, outcome: Outcome) -> None:
        """Print one line on a case, and one on each of its notes."""
        self.n_printed += 1
        position = f"[{self.n_printed}]" if self.plan.settings.watch_s else f"[{self.n_printed}/{self.n_cases}]"
        if outcome.state is State.KEPT:
            self.n_kept += 1
            self._print(f"{position} {outcome.case}: kept, finished before ({flag('again')} segments it again)")
        elif outcome.state is State.FAILED:
            self._print(f"{position} FAILED {outcome.error}")
        else:
            volumes = ", ".join(f"{name} {volume:.1f} ml" for name, volume in outcome.volumes_ml.items())
            numbers = " ".join(f"{name}={number}" for name, number in outcome.labels.items())
            self._print(
                f"{position} {outcome.case}: {volumes}; labels {numbers}; {outcome.seconds:.1f} s{self._left()}"
            )
        for note in outcome.notes:
            self._print(f"      {note}")

    def sum_up(self, outcomes: list[Outcome]) -> None:
        """Print one line on all cases, the names of those that failed or were not started, and the page's path."""
        names = {state: [o.case for o in outcomes if o.state is state] for state in State}
        self._print(", ".join(f"{len(cases)} {state}" for state, cases in names.items() if cases))
        for state in (State.FAILED, State.NOT_STARTED):
            if names[state]:
                self._print(f"{state}: {', '.join(names[state])}")
        if self.plan.settings.report_folder:
            self._print(f"what to look at first: {cohort_files(self.plan.settings.report_folder).page}")

    def _start(self, name: str) -> None:
        self.work_began = self.work_began or time.perf_counter()
        self.progress.reset(self.bar, description=one_line(name), total=None)

    def _left(self) -> str:
        """The time left, in words, if the remaining cases take as long as those before; "" below a minute."""
        n_worked = self.n_printed - self.n_kept
        seconds = (time.perf_counter() - self.work_began) / max(1, n_worked) * (self.n_cases - self.n_printed)
        return f", about {rough_time(seconds)} left" if seconds >= 60 else ""

    def _print(self, text: str) -> None:
        if self.console.quiet:
            return
        try:
            self.console.print(one_line(text), markup=False)
        except OSError:  # the reader of the output has gone; the masks matter more
            self.console.quiet = True
