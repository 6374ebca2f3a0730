"""An evaluation as tables: per case, over the cohort, the worst cases, method against method."""

from collections.abc import Sequence

import numpy as np

from htcnns.files.tables import Cell, Table, shown
from htcnns.runs.evaluate import Evaluation, require_comparable
from htcnns.scores.case import COLUMNS
from htcnns.scores.official import official_scores
from htcnns.scores.statistics import PairedTest, Summary, compare_paired, rank_methods, summarise

_SEED = 20241208  # of the bootstrap, so that a table can be made again


def cases_table(evaluation: Evaluation) -> Table:
    """One row per case and region, one column per score that people read."""
    columns = shown_columns(evaluation)
    rows: list[tuple[Cell, ...]] = [
        (case.case, region, *(case.scores[region][column] for column in columns))
        for case in evaluation.cases
        for region in evaluation.rule.regions
    ]
    return Table(f"Cases, {evaluation.rule.name}", ("case", "region", *columns), tuple(rows))


def cohort_table(evaluation: Evaluation) -> Table:
    """Mean, median and standard deviation of every score and region, with 95 % bootstrap intervals."""
    rows: list[tuple[Cell, ...]] = [
        (region, column, *_summary_cells(cohort_summary(evaluation, region, column)))
        for region in evaluation.rule.regions
        for column in shown_columns(evaluation)
    ]
    estimates = [f"{name}{part}" for name in ("mean", "median", "sd") for part in ("", "_low", "_high")]
    columns = ("region", "score", "n_cases", "n_undefined", *estimates)
    return Table(f"Cohort, {evaluation.rule.name}", columns, tuple(rows))


def summary_table(evaluation: Evaluation) -> Table:
    """The cohort at a glance: a row a region, the mean of each graded score with its 95 % interval as text."""
    scores = [name for name in _graded(evaluation) if not name.startswith("n_")]
    rows = []
    for region in evaluation.rule.regions:
        means = [(name, cohort_summary(evaluation, region, name).mean) for name in scores]
        cells = [f"{shown(m.value, name)} ({shown(m.low, name)} to {shown(m.high, name)})" for name, m in means]
        rows.append((region, *cells))
    title = f"Mean and 95 % interval over {len(evaluation.cases)} cases, {evaluation.rule.name}"
    return Table(title, ("region", *scores), tuple(rows))


def cohort_summary(evaluation: Evaluation, region: str, column: str) -> Summary:
    """One score of one region over all cases; an infinite distance counts as the rule's penalty."""
    names = [case.case for case in evaluation.cases]
    return summarise(_values(evaluation, names, region, column), generator=np.random.default_rng(_SEED))


def worst_table(evaluation: Evaluation, *, n_worst: int = 5) -> Table:
    """The cases with the lowest mean Dice over the regions, worst first, with the region that is worst."""
    score = shown_columns(evaluation)[0]
    by_case = np.array([evaluation.values(region, score) for region in evaluation.rule.regions]).T  # (cases, regions)
    filled = np.where(np.isnan(by_case), 1.0, by_case)  # undefined: empty in both, nothing was done wrong
    order = np.argsort(filled.mean(axis=1), kind="stable")[:n_worst]
    rows: list[tuple[Cell, ...]] = [
        (
            evaluation.cases[i].case,
            float(filled[i].mean()),
            evaluation.rule.regions[int(filled[i].argmin())],
            float(filled[i].min()),
            "missing" if evaluation.cases[i].was_missing else "",
        )
        for i in order.tolist()
    ]
    return Table(f"Worst cases by mean {score}", ("case", f"mean_{score}", "worst_region", score, "note"), tuple(rows))


def comparison_table(first: Evaluation, second: Evaluation) -> Table:
    """Two methods on the cases that both have: paired differences, Wilcoxon's p, and who wins how often.

    Raises:
        SettingsError: they were scored by different rules.
    """
    require_comparable(first, second)
    rows: list[tuple[Cell, ...]] = [
        (region, column, *_paired_cells(compare_evaluations(first, second, region, column)))
        for region in first.rule.regions
        for column in _graded(first)
    ]
    columns = ("region", "score", "n_cases", "difference", "low", "high", "p", "n_wins", "n_ties", "n_losses")
    return Table(f"{first.name} minus {second.name}, {first.rule.name}", columns, tuple(rows))


def compare_evaluations(first: Evaluation, second: Evaluation, region: str, column: str) -> PairedTest:
    """One score of one region on the common cases, first minus second."""
    common = _common_cases([first, second])
    ours, theirs = (_values(evaluation, common, region, column) for evaluation in (first, second))
    generator = np.random.default_rng(_SEED)
    return compare_paired(ours, theirs, better=COLUMNS[column].better, generator=generator)


def ranking_table(evaluations: Sequence[Evaluation]) -> Table:
    """Several methods by their mean rank over common cases, regions and the rule's lesion-wise Dice and HD95.

    Raises:
        SettingsError: they were scored by different rules.
    """
    for other in evaluations[1:]:
        require_comparable(evaluations[0], other)
    common = _common_cases(evaluations)
    names = [name for name in _graded(evaluations[0]) if name in _ranked_by(evaluations[0])]
    pairs = [(region, name) for region in evaluations[0].rule.regions for name in names]
    scores = [[_values(e, common, region, name) for region, name in pairs] for e in evaluations]
    better = np.array([COLUMNS[name].better for _, name in pairs])
    ranks = rank_methods(np.array(scores).transpose(0, 2, 1), better)
    order = np.argsort(ranks, kind="stable").tolist()
    rows = tuple((position, evaluations[i].name, float(ranks[i])) for position, i in enumerate(order, start=1))
    return Table(f"Ranking over {len(common)} cases, {', '.join(names)}", ("place", "method", "mean_rank"), rows)


def evaluation_json(evaluation: Evaluation) -> dict[str, object]:
    """The whole evaluation as plain values: rule, cautions, cohort, and every score, also under its official name."""
    rule = evaluation.rule
    return {
        "rules": rule.name,
        "as_meant": evaluation.settings.as_meant,
        "source": rule.source,
        "verified": rule.verified,
        "cautions": list(evaluation.cautions),
        "without_truth": list(evaluation.without_truth),
        "without_prediction": list(evaluation.without_prediction),
        "cohort": table_records(cohort_table(evaluation)),
        "cases": {
            case.case: {
                region: {"scores": scores, "official": official_scores(scores, rule)}
                for region, scores in case.scores.items()
            }
            for case in evaluation.cases
        },
    }


def shown_columns(evaluation: Evaluation) -> tuple[str, ...]:
    """The scores that people read, of those that the rule and the settings give, in the order of `COLUMNS`."""
    given = next(iter(evaluation.cases[0].scores.values()))
    return tuple(name for name in COLUMNS if name in given)


def _graded(evaluation: Evaluation) -> tuple[str, ...]:
    """The shown scores of which more or less is better."""
    return tuple(name for name in shown_columns(evaluation) if COLUMNS[name].better)


def _ranked_by(evaluation: Evaluation) -> tuple[str, ...]:
    lesionwise = ("lesion_dice", "lesion_hd95_mm")
    return lesionwise if lesionwise[0] in shown_columns(evaluation) else ("dice", "hd95_mm")


def _common_cases(evaluations: Sequence[Evaluation]) -> list[str]:
    names = [{case.case for case in evaluation.cases} for evaluation in evaluations]
    return sorted(set.intersection(*names))


def _values(evaluation: Evaluation, cases: list[str], region: str, column: str) -> np.ndarray:
    """(n,) float64 scores of those cases; an infinite distance, which only 2026 leaves, becomes the rule's penalty."""
    by_case = {case.case: case.scores[region][column] for case in evaluation.cases}
    values = np.array([by_case[case] for case in cases])
    penalty_mm = evaluation.rule.penalty_mm
    return values if penalty_mm is None else np.where(np.isinf(values), penalty_mm, values)


def _summary_cells(summary: Summary) -> tuple[Cell, ...]:
    estimates = (summary.mean, summary.median, summary.sd)
    return summary.n, summary.n_undefined, *(x for e in estimates for x in (e.value, e.low, e.high))


def _paired_cells(test: PairedTest) -> tuple[Cell, ...]:
    difference = test.difference
    return test.n, difference.value, difference.low, difference.high, test.p, test.wins, test.ties, test.losses


def table_records(table: Table) -> list[dict[str, object]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]
