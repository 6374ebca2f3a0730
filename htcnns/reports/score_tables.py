"""An evaluation as tables: per case, over the cohort, the worst cases, method against method."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from htcnns.reports.tables import Cell, Heading, Table, shown, table_records
from htcnns.scores.columns import COLUMNS, Better, Kind
from htcnns.scores.evaluation import Evaluation, require_comparable
from htcnns.scores.official_names import official_scores
from htcnns.scores.statistics import PairedTest, Summary, compare_paired, rank_methods, summarise

_SEED = 20241208  # of the bootstrap, so that a table is reproducible
_DECIMALS: Mapping[Kind, int] = MappingProxyType({Kind.SHARE: 4, Kind.DISTANCE: 2, Kind.VOLUME: 2, Kind.COUNT: 0})


def cases_table(evaluation: Evaluation) -> Table:
    """One row per case and region, one column per score that people read."""
    names = shown_scores(evaluation)
    rows: list[tuple[Cell, ...]] = [
        (case.case, region, *(case.scores[region][name] for name in names))
        for case in evaluation.cases
        for region in evaluation.rule.region_names
    ]
    columns = (Heading("case"), Heading("region"), *(_heading(name) for name in names))
    return Table(f"Cases, {evaluation.rule.name}", columns, tuple(rows))


def cohort_table(evaluation: Evaluation) -> Table:
    """Mean, median and standard deviation of every score and region, with 95 % bootstrap intervals."""
    rows: list[tuple[Cell, ...]] = [
        (region, name, *_summary_cells(cohort_summary(evaluation, region, name)))
        for region in evaluation.rule.region_names
        for name in shown_scores(evaluation)
    ]
    estimates = [f"{name}{part}" for name in ("mean", "median", "sd") for part in ("", "_low", "_high")]
    columns = _headings("region", "score", "n_cases", "n_undefined", *estimates)
    return Table(f"Cohort, {evaluation.rule.name}", columns, tuple(rows))


def summary_table(evaluation: Evaluation) -> Table:
    """The cohort at a glance: one row per region, the mean of each graded score with its 95 % interval as text."""
    names = [name for name in _graded(evaluation) if COLUMNS[name].kind is not Kind.COUNT]
    rows = [
        (region, *(mean_text(cohort_summary(evaluation, region, name), name) for name in names))
        for region in evaluation.rule.region_names
    ]
    title = f"Mean and 95 % interval over {len(evaluation.cases)} cases, {evaluation.rule.name}"
    return Table(title, _headings("region", *names), tuple(rows))


def cohort_summary(evaluation: Evaluation, region: str, score: str) -> Summary:
    """One score of one region over all cases; an infinite distance counts as the rule's penalty."""
    names = [case.case for case in evaluation.cases]
    return summarise(_values(evaluation, names, region, score), generator=np.random.default_rng(_SEED))


def mean_text(summary: Summary, score: str, *, with_interval: bool = True) -> str:
    """The mean of a score as text, with its 95 % interval."""
    mean, decimals = summary.mean, _heading(score).decimals
    value, low, high = (shown(number, decimals=decimals) for number in (mean.value, mean.low, mean.high))
    return f"{value} ({low} to {high})" if with_interval else value


def worst_table(evaluation: Evaluation, *, n_worst: int = 5) -> Table:
    """The cases with the lowest mean Dice over the regions, worst first, each with its worst region."""
    score, _ = _ranked_by(evaluation)
    regions = evaluation.rule.region_names
    by_case = np.array([evaluation.values(region, score) for region in regions]).T  # (cases, regions)
    filled = np.where(np.isnan(by_case), 1.0, by_case)  # undefined: empty in both, nothing was done wrong
    order = np.argsort(filled.mean(axis=1), kind="stable")[:n_worst]
    rows: list[tuple[Cell, ...]] = [
        (
            evaluation.cases[i].case,
            float(filled[i].mean()),
            regions[int(filled[i].argmin())],
            float(filled[i].min()),
            "missing" if evaluation.cases[i].was_missing else "",
        )
        for i in order.tolist()
    ]
    columns = _headings("case", f"mean_{score}", "worst_region", score, "note")
    return Table(f"Worst cases by mean {score}", columns, tuple(rows))


def comparison_table(first: Evaluation, second: Evaluation) -> Table:
    """Two methods on the cases that both have: paired differences, Wilcoxon's p, and number of wins.

    Raises:
        SettingsError: they were scored by different rules.
    """
    require_comparable(first, second)
    rows: list[tuple[Cell, ...]] = [
        (region, name, *_paired_cells(compare_evaluations(first, second, region, name)))
        for region in first.rule.region_names
        for name in _graded(first)
    ]
    columns = _headings(
        *("region", "score", "n_cases", "difference", "low", "high", "p", "n_wins", "n_ties", "n_losses")
    )
    return Table(f"{first.name} minus {second.name}, {first.rule.name}", columns, tuple(rows))


def compare_evaluations(first: Evaluation, second: Evaluation, region: str, score: str) -> PairedTest:
    """One score of one region on the common cases, first minus second."""
    common = _common_cases([first, second])
    ours, theirs = (_values(evaluation, common, region, score) for evaluation in (first, second))
    return compare_paired(ours, theirs, better=COLUMNS[score].better, generator=np.random.default_rng(_SEED))


def ranking_table(evaluations: Sequence[Evaluation]) -> Table:
    """Several methods by their mean rank over common cases, regions and the rule's Dice and HD95.

    Raises:
        SettingsError: they were scored by different rules.
    """
    for other in evaluations[1:]:
        require_comparable(evaluations[0], other)
    common = _common_cases(evaluations)
    names = _ranked_by(evaluations[0])
    pairs = [(region, name) for region in evaluations[0].rule.region_names for name in names]
    scores = [[_values(e, common, region, name) for region, name in pairs] for e in evaluations]
    better = np.array([COLUMNS[name].better for _, name in pairs])
    ranks = rank_methods(np.array(scores).transpose(0, 2, 1), better)
    order = np.argsort(ranks, kind="stable").tolist()
    rows = tuple((position, evaluations[i].name, float(ranks[i])) for position, i in enumerate(order, start=1))
    title = f"Ranking over {len(common)} cases, {', '.join(names)}"
    return Table(title, _headings("place", "method", "mean_rank"), rows)


def evaluation_record(evaluation: Evaluation) -> dict[str, object]:
    """The whole evaluation as plain values: rule, cautions, cohort, and every score, also under its official name."""
    rule = evaluation.rule
    return {
        "rules": rule.name,
        "as_meant": evaluation.settings.as_meant,
        "source": rule.source,
        "verified": rule.verified,
        "cautions": evaluation.cautions,
        "without_truth": evaluation.without_truth,
        "without_prediction": evaluation.without_prediction,
        "cohort": table_records(cohort_table(evaluation)),
        "cases": {
            case.case: {
                region: {"scores": scores, "official": official_scores(scores, rule)}
                for region, scores in case.scores.items()
            }
            for case in evaluation.cases
        },
    }


def shown_scores(evaluation: Evaluation) -> tuple[str, ...]:
    """Names of the computed scores that people read, in the order of `COLUMNS`."""
    given = next(iter(evaluation.cases[0].scores.values()))
    return tuple(name for name in COLUMNS if name in given)


def _heading(score: str) -> Heading:
    """The heading of a column that holds one score."""
    return Heading(score, _DECIMALS[COLUMNS[score].kind])


def _headings(*names: str) -> tuple[Heading, ...]:
    """Headings of columns that hold scores of several kinds, or text."""
    return tuple(Heading(name) for name in names)


def _graded(evaluation: Evaluation) -> tuple[str, ...]:
    """Names of the shown scores for which more or less is better."""
    return tuple(name for name in shown_scores(evaluation) if COLUMNS[name].better is not Better.NEITHER)


def _ranked_by(evaluation: Evaluation) -> tuple[str, str]:
    """Dice and HD95 of lesions where the rule has them, else of whole masks."""
    return ("lesion_dice", "lesion_hd95_mm") if "lesion_dice" in shown_scores(evaluation) else ("dice", "hd95_mm")


def _common_cases(evaluations: Sequence[Evaluation]) -> list[str]:
    names = [{case.case for case in evaluation.cases} for evaluation in evaluations]
    return sorted(set.intersection(*names))


def _values(evaluation: Evaluation, cases: list[str], region: str, score: str) -> np.ndarray:
    """(n,) float64 scores of those cases; infinite distances (2026 rules only) become the rule's penalty."""
    by_case = {case.case: case.scores[region][score] for case in evaluation.cases}
    values = np.array([by_case[case] for case in cases])
    penalty_mm = evaluation.rule.penalty_mm
    return values if penalty_mm is None else np.where(np.isinf(values), penalty_mm, values)


def _summary_cells(summary: Summary) -> tuple[Cell, ...]:
    estimates = (summary.mean, summary.median, summary.sd)
    return summary.n, summary.n_undefined, *(x for e in estimates for x in (e.value, e.low, e.high))


def _paired_cells(test: PairedTest) -> tuple[Cell, ...]:
    difference = test.difference
    return test.n, difference.value, difference.low, difference.high, test.p, test.wins, test.ties, test.losses
