"""How packing, synthesis and training are shown to people: one line now and then."""

import time

from htcnns.doors.terminal import one_line
from htcnns.training.cases import Packed
from htcnns.training.progress import Progress
from htcnns.training.transfer import TransferReport

BETWEEN_S = 10.0  # between two lines on a fit


class TrainingPrinter:
    """Prints the progress of fits; changes with every call."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._losses: dict[str, list[float]] = {}

    def step(self, member: str, progress: Progress) -> None:
        """Print a line on a fit every few seconds and at its end: mean loss since the last line, speed, time left.

        Every validation has a line of its own.
        """
        if progress.dice:
            scores = ", ".join(f"{region} {value:.3f}" for region, value in progress.dice.items())
            say(f"{member}: step {progress.step} of {progress.n_steps}, validation Dice {scores}")
        losses = self._losses.setdefault(member, [])
        losses.append(progress.loss)
        now = time.monotonic()
        if now - self._last.setdefault(member, now) < BETWEEN_S and progress.step < progress.n_steps:
            return
        self._last[member] = now
        say(
            f"{member}: step {progress.step} of {progress.n_steps}, loss {sum(losses) / len(losses):.3f}, "
            f"{progress.seconds:.2f} s a step, about {duration(progress.seconds_left)} left"
        )
        losses.clear()

    def transfer(self, member: str, report: TransferReport) -> None:
        """Print which of the weights that a fit starts from were kept, remapped or reset."""
        for line in report.lines():
            say(f"{member}: {line}")


def print_packed(packed: Packed) -> None:
    """Print a line on a case that was packed."""
    card = packed.card
    regions = " ".join(region.name for region in card.known) or "no truth"
    state = "already packed" if packed.was_there else "packed"
    say(f"{card.name}: {state}; patient {', '.join(card.patients)}; {' '.join(card.sequences)}; {regions}")


def say(text: str) -> None:
    """Print one line immediately."""
    print(one_line(text), flush=True)


def duration(seconds: float) -> str:
    """A duration in words: "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
