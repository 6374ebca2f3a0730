"""A transfer study as tables: for people, means with intervals as in the paper; for programs, every number."""

from htcnns.reports.tables import Cell, Heading, Table
from htcnns.scores.evaluation import Evaluation
from htcnns.training.mean_columns import KINDS, RECORD, every_mean, mean_columns, over_cases, steps_text
from htcnns.training.transfer_study import StudyRow, TransferPlan, TransferStudy

_POPULATIONS = {"target": "Target population", "extra": "Extra cases, which no member saw"}


def study_tables(study: TransferStudy) -> tuple[Table, ...]:
    """Tables by population, for whole masks and lesion-wise: one row per StudyRow, Dice and HD95 of each region.

    A cell is a mean with its 95 % interval over the cases; a single case has no interval.
    """
    return tuple(
        _readable(study, population, what)
        for population in _POPULATIONS
        for what in KINDS
        if (evaluation := _evaluation(study.rows[0], population)) and mean_columns(evaluation, what)
    )


def study_record(study: TransferStudy) -> Table:
    """One row for every cell of the tables, with unrounded numbers."""
    rows = [
        (population, row.name, row.n_fits, *row.steps, *cells)
        for population in _POPULATIONS
        for row in study.rows
        if (evaluation := _evaluation(row, population))
        for cells in every_mean(evaluation)
    ]
    columns = ("population", "row", "n_fits", "fewest_steps", "most_steps")
    return Table("Transfer", tuple(map(Heading, columns + RECORD)), tuple(rows))


def study_notes(plan: TransferPlan, study: TransferStudy) -> tuple[str, ...]:
    """Notes that a reader of the tables needs."""
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
    means = mean_columns(first, what)
    rows: list[tuple[Cell, ...]] = [
        (row.name, steps_text(row.steps), row.n_fits, *(column.text(evaluation) for column in means))
        for row in study.rows
        if (evaluation := _evaluation(row, population))
    ]
    columns = ("row", "steps", "fits", *(column.heading for column in means))
    return Table(f"{_POPULATIONS[population]}, {what}: {over_cases(first)}", tuple(map(Heading, columns)), tuple(rows))


def _evaluation(row: StudyRow, population: str) -> Evaluation | None:
    return row.target if population == "target" else row.extra
