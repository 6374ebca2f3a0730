"""How a fit progresses: every step's loss and time, what is left, and the points of its curves."""

import time
from dataclasses import dataclass
from math import prod

from htcnns.files.checkpoints import CurvePoint
from htcnns.training.fit_plan import FitPlan

_SMOOTHING = 0.05  # weight of the latest step in the mean time that the rest is estimated by


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What one step gave.

    Attributes:
        step, n_steps: steps done, and steps of the fit.
        loss: before the step, over all processes.
        learning_rate: of the step.
        seconds, waited: what it took, and how much of that was waiting for its patches.
        seconds_left: estimate for the rest of the fit.
        was_taken: False where a gradient was not finite, so that the weights stayed.
    """

    step: int
    n_steps: int
    loss: float
    learning_rate: float
    seconds: float
    waited: float
    seconds_left: float
    was_taken: bool


class Clock:
    """Times the steps of a fit from its making on; changes with every call."""

    def __init__(self, plan: FitPlan) -> None:
        self._plan = plan
        self._began = self._had_batch = time.perf_counter()
        self._per_voxel: float | None = None

    def has_batch(self) -> None:
        """The step's patches are there; what follows is computing."""
        self._had_batch = time.perf_counter()

    def tick(self, step: int, loss: float, *, was_taken: bool) -> Progress:
        """The step is done."""
        now, there = time.perf_counter(), self._plan.at(step)
        seconds, waited = now - self._began, self._had_batch - self._began
        self._began = now
        per_voxel = seconds / prod(there.shape)
        mean = self._per_voxel
        self._per_voxel = per_voxel if mean is None else mean + _SMOOTHING * (per_voxel - mean)
        return Progress(
            step=step + 1,
            n_steps=self._plan.n_steps,
            loss=loss,
            learning_rate=there.learning_rate,
            seconds=seconds,
            waited=waited,
            seconds_left=self._per_voxel * self._plan.n_voxels(step + 1),
            was_taken=was_taken,
        )


class Curves:
    """The points of a fit's curves, one for each stretch between checkpoints; changes with every call."""

    def __init__(self, points: list[CurvePoint]) -> None:
        self.points = list(points)
        self._since: list[Progress] = []

    def add(self, progress: Progress) -> None:
        """Take in a step."""
        self._since.append(progress)

    def close(self) -> list[CurvePoint]:
        """All points, with one for the steps since the last."""
        n, last = len(self._since), self._since[-1]
        self.points.append(
            CurvePoint(
                step=last.step,
                loss=round(sum(each.loss for each in self._since) / n, 6),
                learning_rate=last.learning_rate,
                seconds=round(sum(each.seconds for each in self._since) / n, 4),
                waited=round(sum(each.waited for each in self._since) / n, 4),
                skipped=sum(not each.was_taken for each in self._since),
            )
        )
        self._since = []
        return self.points
