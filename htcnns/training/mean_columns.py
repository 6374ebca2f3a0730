"""Columns of mean Dice and HD95 of each region, for whole masks and lesion-wise, as in the paper's tables."""

from collections.abc import Iterator
from dataclasses import dataclass

from htcnns.reports.score_tables import cohort_summary, mean_text, shown_scores
from htcnns.reports.tables import Cell
from htcnns.scores.evaluation import Evaluation

KINDS = {"whole masks": ("dice", "hd95_mm"), "lesion-wise": ("lesion_dice", "lesion_hd95_mm")}
RECORD = ("region", "score", "n_cases", "n_undefined", "mean", "low", "high")  # columns of `every_mean`
_UNITS = {"dice": "Dice", "hd95_mm": "HD95 mm", "lesion_dice": "Dice", "lesion_hd95_mm": "HD95 mm"}


@dataclass(frozen=True)
class MeanColumn:
    """A column with the mean of one score of one region."""

    region: str
    score: str

    @property
    def heading(self) -> str:
        """The heading of the column, such as "Dice ET"."""
        return f"{_UNITS[self.score]} {self.region}"

    def text(self, evaluation: Evaluation) -> str:
        """The mean over the cases with its 95 % interval, or without one for a single case."""
        summary = cohort_summary(evaluation, self.region, self.score)
        return mean_text(summary, self.score, with_interval=summary.n > 1)


def mean_columns(evaluation: Evaluation, kind: str) -> tuple[MeanColumn, ...]:
    """The columns of one of KINDS, inner regions first (ET, TC, WT); empty if the rule has no such scores."""
    names = [name for name in KINDS[kind] if name in shown_scores(evaluation)]
    return tuple(MeanColumn(region, name) for name in names for region in evaluation.rule.region_names[::-1])


def over_cases(evaluation: Evaluation) -> str:
    """The cases that the means are taken over, as text for a title."""
    n_cases = len(evaluation.cases)
    return f"mean and 95 % interval over {n_cases} cases" if n_cases > 1 else f"case {evaluation.cases[0].case}"


def every_mean(evaluation: Evaluation) -> Iterator[tuple[Cell, ...]]:
    """One row per column of every kind, with unrounded numbers; RECORD names the cells."""
    for column in (column for kind in KINDS for column in mean_columns(evaluation, kind)):
        summary = cohort_summary(evaluation, column.region, column.score)
        mean = summary.mean
        yield column.region, column.score, summary.n, summary.n_undefined, mean.value, mean.low, mean.high


def steps_text(steps: tuple[int, int]) -> str:
    """The fewest and most steps of some fits as text; a single number if they are equal."""
    fewest, most = steps
    return str(fewest) if fewest == most else f"{fewest} to {most}"
