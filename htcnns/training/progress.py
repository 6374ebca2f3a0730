"""Progress of a fit: the loss and duration of every step, and the time left."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType

from htcnns.training.fit_plan import FitPlan

_SMOOTHING = 0.05  # weight of the latest step in the moving mean time per voxel, from which the rest is estimated


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The outcome of one step.

    Attributes:
        step, n_steps: number of steps done, and of steps in the fit.
        loss: loss before the step, over all processes.
        learning_rate: learning rate of the step.
        seconds, waited: duration of the step, and the part of it spent waiting for its patches.
        seconds_left: estimated time for the rest of the fit.
        was_taken: False if a gradient was not finite, so that the weights were not updated.
        dice: mean Dice of the validation cases by region; empty unless a validation followed the step.
    """

    step: int
    n_steps: int
    loss: float
    learning_rate: float
    seconds: float
    waited: float
    seconds_left: float
    was_taken: bool
    dice: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


class Clock:
    """Times the steps of a fit, from its own creation on; every call changes it."""

    def __init__(self, plan: FitPlan) -> None:
        self._plan = plan
        self._began = self._had_batch = time.perf_counter()
        self._per_voxel: float | None = None

    def go_on(self) -> None:
        """Start the next step now; the time since the last one is not counted."""
        self._began = time.perf_counter()

    def has_batch(self) -> None:
        """Mark the arrival of the step's patches; the rest of the step is computation."""
        self._had_batch = time.perf_counter()

    def tick(self, step: int, loss: float, *, was_taken: bool) -> Progress:
        """Progress at the end of a step; the next step starts now."""
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
