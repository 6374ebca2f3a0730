"""The label maps of a case from each voice of a set of members, every member and every fusion, and their scores."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from htcnns.errors import SettingsError
from htcnns.image.fusion import FUSIONS, fuse
from htcnns.image.fusion_cleanup import clean_fusion
from htcnns.image.postprocess import PostprocessRules, agreeing, postprocess
from htcnns.labels import RegionSet, encode, label_set, region_mask
from htcnns.reports.score_tables import cases_table, summary_table
from htcnns.reports.tables import Cell, Heading, Table
from htcnns.scores.evaluation import EvaluateSettings, Evaluation, ScoredCase, score_volumes
from htcnns.scores.rules import rule
from htcnns.volume import Volume


def voices(
    probabilities: np.ndarray, names: Sequence[str], regions: RegionSet, rules: Sequence[PostprocessRules]
) -> Iterator[tuple[str, np.ndarray]]:
    """The name and (I, J, K) uint8 label map of every member and, with two or more members, of every fusion.

    As in a run, specks and holes that no member would have kept are removed from a fusion.

    Args:
        probabilities: (M, R, I, J, K) float32, regions in the order of the set.
        names, rules: name and rules of each member.
    """
    label_maps = [postprocess(array, regions, r)[0] for array, r in zip(probabilities, rules, strict=True)]
    yield from zip(names, label_maps, strict=True)
    if len(names) > 1:
        agreed = [agreeing(p, m, regions, r) for p, m, r in zip(probabilities, label_maps, rules, strict=True)]
        for method in FUSIONS:
            fused = fuse(
                np.stack(label_maps), regions, method=method, probabilities=np.stack(agreed), names=tuple(names)
            )
            yield method, clean_fusion(fused, rules).label_map


def without_clean_up(rules: PostprocessRules) -> PostprocessRules:
    """The rules reduced to their thresholds: nothing is removed or filled afterwards."""
    return replace(
        rules, min_component_voxels={}, et_component_voxels=0, et_total_voxels=0, et_least_mean=0, filled_regions=[]
    )


def score_label_map(
    label_map: np.ndarray, truth: np.ndarray, *, case: str, regions: RegionSet, rules: str
) -> ScoredCase:
    """The scores of a label map on the networks' grid under a rule; truth outside the set's regions is background.

    Args:
        label_map, truth: (I, J, K) uint8 of Label values at 1 mm.
        rules: name of a rule that scores exactly the labels of the set.
    """
    row = rule(rules)
    assert row.labels is not None
    numbers = label_set(row.labels)
    told = regions.compose(region_mask(truth, region) for region in regions.regions)
    prediction, true = (Volume(encode(each, numbers), np.eye(4)) for each in (label_map, told))
    settings = EvaluateSettings(rules=rules, prediction_labels=row.labels, truth_labels=row.labels)
    return score_volumes(prediction, true, case=case, settings=settings)


def require_scorable(rules: str, regions: RegionSet) -> None:
    """Raise SettingsError unless the rule scores exactly the labels that the set can write."""
    row = rule(rules)
    numbers = {number for region in row.regions for number in region.numbers}
    labels = label_set(row.labels).numbers if row.labels else {}
    scored = {label for label, number in labels.items() if number in numbers}
    if scored != set(regions.labels):
        raise SettingsError(
            f"{rules} does not score what the members predict",
            setting="rules",
            found=", ".join(label.name for label in sorted(scored)) or "labels of its own",
            expected=", ".join(label.name for label in sorted(regions.labels)),
            remedy="Choose other rules, or a recipe with other regions.",
        )


def voices_summary(evaluations: Iterable[Evaluation], title: str) -> Table:
    """Mean and 95 % interval of each score, one row per voice and region."""
    return _stacked({each.name: summary_table(each) for each in evaluations}, title)


def voices_cases(evaluations: Iterable[Evaluation]) -> Table:
    """One row per voice, case and region."""
    return _stacked({each.name: cases_table(each) for each in evaluations}, "Cases by voice")


def _stacked(tables: dict[str, Table], title: str) -> Table:
    """Tables with the same columns, stacked; the first column names the table of each row."""
    first = next(iter(tables.values()))
    rows: list[tuple[Cell, ...]] = [(name, *row) for name, table in tables.items() for row in table.rows]
    return Table(title, (Heading("voice"), *first.columns), tuple(rows))
