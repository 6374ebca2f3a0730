"""A picture of two cohorts: every case a point on a map, and beside it how well they are told apart."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from htcnns.reports.plain_text import one_line
from htcnns.scores.separation import CHANCE, LARGEST_P, Separation

WIDTH, HEIGHT = 1200, 800  # pixels
MOST_NAMES = 30  # up to this many cases, each point has its name
# Okabe and Ito's blue and vermilion, distinguishable with every common colour blindness; two shapes for print
MARKS = (("#0072b2", "o"), ("#d55e00", "^"))
_PAPER, _INK, _FAINT, _GRID = "#ffffff", "#202124", "#5f6368", "#e3e5e8"
_DOTS_PER_INCH = 100
_BAR, _BAR_COLOUR = 0.5, "#009e73"


@dataclass(frozen=True, kw_only=True, eq=False)
class Cohort:
    """One of the two cohorts.

    Attributes:
        name: name of the cohort, as shown.
        cases: names of its cases.
        places: (n, 2) positions of its cases on the map.
    """

    name: str
    cases: tuple[str, ...]
    places: np.ndarray


def cohort_picture(cohorts: tuple[Cohort, Cohort], found: Separation, *, of: str) -> np.ndarray:
    """The map with a legend, and the separation as a bar beside it.

    Args:
        of: what the cohorts are compared by, such as "images".

    Returns:
        (HEIGHT, WIDTH, 3) uint8.
    """
    size = WIDTH / _DOTS_PER_INCH, HEIGHT / _DOTS_PER_INCH
    figure = Figure(figsize=size, dpi=_DOTS_PER_INCH, facecolor=_PAPER, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    names = " and ".join(_shown(cohort.name) for cohort in cohorts)
    figure.suptitle(f"{names}: {found.verdict} by their {of}", color=_INK, fontsize=15, x=0.01, ha="left")
    left, right = figure.subplots(1, 2, width_ratios=(4.2, 1))
    _draw_map(cohorts, left)
    _draw_separation(found, right)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _draw_map(cohorts: tuple[Cohort, Cohort], axes: Axes) -> None:
    """Draw the points, their names if there are few, and the legend."""
    has_names = sum(len(cohort.cases) for cohort in cohorts) <= MOST_NAMES
    axes.set_facecolor(_PAPER)
    axes.set_title("t-SNE: nearby cases look alike; distances and directions mean nothing", color=_FAINT, fontsize=10)
    for cohort, (colour, shape) in zip(cohorts, MARKS, strict=True):
        x, y = cohort.places.T
        label = f"{_shown(cohort.name)} ({len(cohort.cases)})"
        axes.scatter(x, y, s=70, c=colour, marker=shape, label=label, alpha=0.85, edgecolors=_PAPER, linewidths=0.7)
        for name, place in zip(cohort.cases if has_names else (), cohort.places, strict=False):
            beside = {"xytext": (6, 5), "textcoords": "offset points"}
            axes.annotate(_shown(name), tuple(place), fontsize=8, color=colour, **beside)  # type: ignore[arg-type]
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(_GRID)
    axes.margins(x=0.22 if has_names else 0.06, y=0.08)  # names reach to the right of their points
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.01), ncols=2, fontsize=11, labelcolor=_INK, frameon=False)


def _draw_separation(found: Separation, axes: Axes) -> None:
    """Draw the accuracy as a bar on an axis from 0 to 1, with a line at chance, and the verdict."""
    axes.set_facecolor(_PAPER)
    axes.set_title("nearest neighbour in\nthe same cohort", color=_INK, fontsize=11)
    axes.bar([0], [found.accuracy], width=_BAR, color=_BAR_COLOUR)
    axes.axhline(CHANCE, color=_INK, linestyle="--", linewidth=1)
    axes.text(0.5, CHANCE, " chance", va="center", ha="left", fontsize=9, color=_INK, clip_on=False)
    axes.text(0, found.accuracy + 0.01, f"{found.accuracy:.2f}", ha="center", va="bottom", fontsize=14, color=_INK)
    axes.set_xlim(-0.5, 0.5)
    axes.set_ylim(0, 1.08)
    axes.set_xticks([])
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.tick_params(colors=_FAINT, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GRID)
    text = f"p = {found.p:.4f}\n\n{found.verdict}\n(told apart: p ≤ {LARGEST_P})"
    axes.set_xlabel(text, color=_INK, fontsize=11, labelpad=12)


def _shown(name: str) -> str:
    """A name that matplotlib draws as plain text, not as a formula."""
    return one_line(name).encode("utf-8", "backslashreplace").decode().replace("$", r"\$")
