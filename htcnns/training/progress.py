"""How a fit progresses: every step's loss and time, and what is left."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType

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
        dice: mean Dice of the validation's cases by region, where a look at them followed the step.
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
    """Times the steps of a fit from its making on; changes with every call."""

    def __init__(self, plan: FitPlan) -> None:
        self._plan = plan
        self._began = self._had_batch = time.perf_counter()
        self._per_voxel: float | None = None

    def go_on(self) -> None:
        """The next step begins now; what came since the last is no part of it."""
        self._began = time.perf_counter()

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
