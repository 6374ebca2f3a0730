"""A picture of curves: panels under each other over one axis of steps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

WIDTH, PANEL = 960, 260  # pixels of the picture, and of a panel's height
# Okabe and Ito's palette, distinguishable with every common colour blindness (jfly.uni-koeln.de/color)
COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442")
_PAPER, _INK, _FAINT, _GRID = "#000000", "#e8eaed", "#8c929a", "#2c3036"
_DOTS_PER_INCH = 100
_FEW = 60  # up to this many points, each has a dot


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        name: what the curve shows; printed in the legend with its last value.
        points: (step, value) pairs, sorted by step; may be empty.
    """

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """Curves that share their axes.

    Attributes:
        title: what is drawn, with its unit.
        lines: the curves.
        span: lowest and highest value that the axis must include; None to fit the data.
    """

    title: str
    lines: Sequence[Line]
    span: tuple[float, float] | None = None


def curves_picture(panels: Sequence[Panel], *, title: str, n_steps: int) -> np.ndarray:
    """The panels under each other, each over the steps from 0 to `n_steps`.

    Returns:
        (height, width, 3) uint8.
    """
    size = WIDTH / _DOTS_PER_INCH, PANEL * len(panels) / _DOTS_PER_INCH
    figure = Figure(figsize=size, dpi=_DOTS_PER_INCH, facecolor=_PAPER, layout="constrained")
    canvas = FigureCanvasAgg(figure)  # not pyplot, which needs a display and keeps figures
    figure.suptitle(title, color=_INK, fontsize=12, x=0.01, ha="left")
    for panel, axes in zip(panels, figure.subplots(len(panels), squeeze=False)[:, 0], strict=True):
        _draw(panel, axes, n_steps)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw(panel: Panel, axes: Axes, n_steps: int) -> None:
    """Draw the panel's lines, its axes and its title."""
    axes.set_facecolor(_PAPER)
    axes.set_title(panel.title, color=_INK, fontsize=10, loc="left")
    axes.set_xlabel("step", color=_FAINT, fontsize=8, loc="right")
    axes.tick_params(colors=_FAINT, labelsize=8)
    axes.grid(color=_GRID)
    axes.spines[:].set_color(_GRID)
    axes.set_xlim(0, max(1, n_steps))
    shown = [(line, colour) for line, colour in zip(panel.lines, COLOURS, strict=False) if line.points]
    for line, colour in shown:
        steps, values = zip(*line.points, strict=True)
        label = f"{line.name} {values[-1]:#.3g}".strip()
        axes.plot(steps, values, color=colour, label=label, marker="." if len(steps) <= _FEW else "")
    if panel.span:
        low, high = axes.get_ylim() if shown else panel.span
        axes.set_ylim(min(low, panel.span[0]), max(high, panel.span[1]))
    if shown:
        axes.legend(loc="best", fontsize=8, labelcolor="linecolor", facecolor=_PAPER, edgecolor=_GRID)
