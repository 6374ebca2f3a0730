"""The record of a fit in its folder: curves, validation, a picture of both, and TensorBoard events."""

import time
from pathlib import Path

import numpy as np

from htcnns.files.atomic import write_whole
from htcnns.files.curves import CaseDice, CurvePoint, read_curves, read_validation, write_curves, write_validation
from htcnns.files.tensorboard import WriteNumber
from htcnns.reports.curves import Line, Panel, curves_picture
from htcnns.reports.picture import png_bytes
from htcnns.training.fit_plan import FitPlan
from htcnns.training.progress import Progress
from htcnns.training.validation import mean_dice

CURVES, VALIDATION, PICTURE = "curves.csv", "validation.csv", "curves.png"
PICTURE_EVERY_S = 60.0  # drawing takes 0.15 s, which would slow down short fits


class Record:
    """The steps and validations of a fit so far; every call changes it.

    Args:
        folder: folder of the fit; points in its files up to `start` are kept.
        plan: plan of the fit.
        start: step from which the fit resumes.
        event: called with every number that is written.
    """

    def __init__(self, folder: Path, plan: FitPlan, *, start: int, event: WriteNumber) -> None:
        self._folder, self._plan, self._event = folder, plan, event
        self._points = read_curves(folder / CURVES, up_to=start)
        self._cases = read_validation(folder / VALIDATION, up_to=start)
        self._since: list[Progress] = []
        self._drawn = time.monotonic()

    def add(self, progress: Progress, cases: list[CaseDice]) -> None:
        """Add a step and the validation after it, if any, which is written at once."""
        self._since.append(progress)
        if not cases:
            return
        self._cases += cases
        regions = [region.name for region in self._plan.recipe.regions.regions]
        write_validation(self._folder / VALIDATION, self._cases, regions)
        for region, value in progress.dice.items():
            self._event(f"validation Dice/{region}", value, progress.step)

    def write(self) -> None:
        """Write the curves, with a point for the steps since the last; draw the picture occasionally and at the end."""
        point = _point(self._since)
        self._since = []
        self._points.append(point)
        for name in ("loss", "learning_rate", "seconds"):
            self._event(name, getattr(point, name), point.step)
        write_curves(self._folder / CURVES, self._points)
        if point.step == self._plan.n_steps or time.monotonic() - self._drawn > PICTURE_EVERY_S:
            write_whole(self._folder / PICTURE, png_bytes(self._picture()))
            self._drawn = time.monotonic()

    def _picture(self) -> np.ndarray:
        n_steps = self._plan.n_steps
        step = self._points[-1].step
        panels = [
            Panel("loss, mean since the last point", [Line("", [(p.step, p.loss) for p in self._points])]),
            Panel("learning rate", [Line("", [(p.step, p.learning_rate) for p in self._points])], span=(0, 0)),
        ]
        if self._cases:
            panels.append(
                Panel("mean Dice of cases that are not trained on, without clean-up", self._dice_lines(), span=(0, 1))
            )
        return curves_picture(panels, title=f"{self._plan.member.name}: step {step} of {n_steps}", n_steps=n_steps)

    def _dice_lines(self) -> list[Line]:
        steps = sorted({each.step for each in self._cases})
        means = {step: mean_dice(each for each in self._cases if each.step == step) for step in steps}
        return [
            Line(region.name, [(step, means[step][region.name]) for step in steps if region.name in means[step]])
            for region in self._plan.recipe.regions.regions
        ]


def _point(steps: list[Progress]) -> CurvePoint:
    """The point of the curves that summarises these steps."""
    n, last = len(steps), steps[-1]
    return CurvePoint(
        step=last.step,
        loss=round(sum(each.loss for each in steps) / n, 6),
        learning_rate=last.learning_rate,
        seconds=round(sum(each.seconds for each in steps) / n, 4),
        waited=round(sum(each.waited for each in steps) / n, 4),
        skipped=sum(not each.was_taken for each in steps),
    )
