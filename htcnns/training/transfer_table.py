"""A transfer study as tables: for people, means with intervals as the paper shows them; for programs, every number."""

from collections.abc import Iterator

from htcnns.reports.score_tables import cohort_summary, mean_text, shown_scores
from htcnns.reports.tables import Cell, Heading, Table
from htcnns.scores.evaluation import Evaluation
from htcnns.training.transfer_study import StudyRow, TransferPlan, TransferStudy

_SCORES = {"whole masks": ("dice", "hd95_mm"), "lesion-wise": ("lesion_dice", "lesion_hd95_mm")}
_UNITS = {"dice": "Dice", "hd95_mm": "HD95 mm", "lesion_dice": "Dice", "lesion_hd95_mm": "HD95 mm"}
_POPULATIONS = {"target": "Target population", "extra": "Extra cases, which no member saw"}


def study_tables(study: TransferStudy) -> tuple[Table, ...]:
    """For each population, whole masks and lesions: one row per approach and voice, Dice and HD95 of each region.

    A cell is a mean with its 95 % interval over the cases; a single case has no interval.
    """
    return tuple(
        _readable(study, population, what)
        for population in _POPULATIONS
        for what in _SCORES
        if (evaluation := _evaluation(study.rows[0], population)) and _names(evaluation, what)
    )


def study_record(study: TransferStudy) -> Table:
    """Every cell of the tables as a row of its own, numbers in full."""
    rows = [
        (population, row.name, row.n_fits, *row.steps, *cells)
        for population in _POPULATIONS
        for row in study.rows
        if (evaluation := _evaluation(row, population))
        for cells in _cells(evaluation)
    ]
    columns = ("population", "row", "n_fits", "fewest_steps", "most_steps")
    more = ("region", "score", "n_cases", "n_undefined", "mean", "low", "high")
    return Table("Transfer", tuple(map(Heading, columns + more)), tuple(rows))


def study_notes(plan: TransferPlan, study: TransferStudy) -> tuple[str, ...]:
    """Sentences that a reader of the tables must know."""
    notes = [
        f"Target cases: {len(study.rows[0].target.cases)}, in {plan.held_out.folds.n_folds} folds by patient; each is "
        "scored by members that never saw its patient.",
    ]
    if plan.source.cards:
        n_seen = sum(bool(card.known) for card in plan.source.cards)
        notes.append(
            f"Source cases: {n_seen}, one fit per member; TR starts from it and is trained on the target's folds; EN "
            "is all members fused by STAPLE."
        )
    if plan.synthetic.cards:
        n_out = len(plan.left_out)
        notes.append(
            f"Synthetic heads: {len(plan.synthetic.cards) - n_out}, one fit, without {n_out} that carry a tumour of a "
            "measured patient; synthetic-then-real starts from it and is trained on the target's folds."
        )
    if plan.held_out.extra.cards:
        notes.append("An extra case counts with the mean of its scores over the folds.")
    notes.append(
        f"Fits in all: {study.n_fits}; steps and fits of a row do not count those that it starts from. "
        f"Rules: {plan.held_out.rules}."
    )
    return tuple(notes)


def _readable(study: TransferStudy, population: str, what: str) -> Table:
    first = _evaluation(study.rows[0], population)
    assert first
    pairs = [(region, name) for name in _names(first, what) for region in _regions(first)]
    rows: list[tuple[Cell, ...]] = [
        (row.name, _steps(row), row.n_fits, *(_text(evaluation, region, name) for region, name in pairs))
        for row in study.rows
        if (evaluation := _evaluation(row, population))
    ]
    columns = ("row", "steps", "fits", *(f"{_UNITS[name]} {region}" for region, name in pairs))
    n_cases = len(first.cases)
    over = f"mean and 95 % interval over {n_cases} cases" if n_cases > 1 else f"case {first.cases[0].case}"
    return Table(f"{_POPULATIONS[population]}, {what}: {over}", tuple(map(Heading, columns)), tuple(rows))


def _cells(evaluation: Evaluation) -> Iterator[tuple[Cell, ...]]:
    """Region, score, numbers of cases, mean and interval of each cell."""
    for what in _SCORES:
        for name in _names(evaluation, what):
            for region in _regions(evaluation):
                summary = cohort_summary(evaluation, region, name)
                mean = summary.mean
                yield region, name, summary.n, summary.n_undefined, mean.value, mean.low, mean.high


def _text(evaluation: Evaluation, region: str, name: str) -> str:
    summary = cohort_summary(evaluation, region, name)
    return mean_text(summary, name, with_interval=summary.n > 1)


def _evaluation(row: StudyRow, population: str) -> Evaluation | None:
    return row.target if population == "target" else row.extra


def _names(evaluation: Evaluation, what: str) -> tuple[str, ...]:
    """Names of the scores of that kind that the rule has."""
    return tuple(name for name in _SCORES[what] if name in shown_scores(evaluation))


def _regions(evaluation: Evaluation) -> tuple[str, ...]:
    """The inner regions first, as the paper has them: ET, TC, WT."""
    return evaluation.rule.region_names[::-1]


def _steps(row: StudyRow) -> str:
    fewest, most = row.steps
    return str(fewest) if fewest == most else f"{fewest} to {most}"
