"""Two label maps in their own numbers, scored under a rule, and the scores of many such cases together."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from htcnns.errors import InputError, SettingsError, require_known
from htcnns.labels import Label, LabelSet, default_label_set, label_set
from htcnns.scores.case import CaseScores, missed_scores, score_case
from htcnns.scores.metrics import DEFINITIONS
from htcnns.scores.rules import Rule, as_meant, rule
from htcnns.volume import Grid, Volume, grid_difference, voxel_ml


class Missing(StrEnum):
    """What happens to a truth without a prediction."""

    SKIP = "skip"
    WORST = "worst"


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """How predictions are scored; checked once, here.

    Attributes:
        rules: name of a row of `RULES`.
        as_meant: whether the known bugs of the official code are left out.
        prediction_labels, truth_labels: names of label sets; None to infer them from rule and case name.
        definitions: names of `DEFINITIONS` to compute in addition to the rule's scores.
        missing: treatment of a truth without a prediction: skip only lists it, worst scores it as missed.

    Raises:
        SettingsError: an unknown name, or a label set under a rule that has none; the error names the setting.
    """

    rules: str = "brats2023-gli"
    as_meant: bool = False
    prediction_labels: str | None = None
    truth_labels: str | None = None
    definitions: tuple[str, ...] = ()
    missing: str = Missing.SKIP

    def __post_init__(self) -> None:
        row = rule(self.rules)
        require_known(self.missing, Missing, what="choice", setting="missing")
        for name in self.definitions:
            require_known(name, DEFINITIONS, what="score", setting="definitions")
        _require_label_set(self.prediction_labels, row, setting="prediction_labels")
        _require_label_set(self.truth_labels, row, setting="truth_labels")

    @property
    def rule(self) -> Rule:
        """The row of `RULES`, or `as_meant` of it."""
        return as_meant(rule(self.rules)) if self.as_meant else rule(self.rules)


@dataclass(frozen=True, kw_only=True)
class ScoredCase:
    """One case.

    Attributes:
        case: name of the case.
        scores: scores by region name, then by score name.
        dropped: for each label map, the voxel counts of the numbers that the rule drops.
        was_missing: whether there was no prediction, so that the case was scored as missed.
    """

    case: str
    scores: CaseScores
    dropped: tuple[Counter[int], ...] = ()
    was_missing: bool = False


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of many cases, and all that a reader must know about them.

    Attributes:
        name: name of the predictions, usually that of their folder.
        cases: the scored cases, sorted by name.
        without_truth, without_prediction: names of cases that lack one side.
    """

    name: str
    settings: EvaluateSettings
    cases: tuple[ScoredCase, ...]
    without_truth: tuple[str, ...] = ()
    without_prediction: tuple[str, ...] = ()

    @property
    def rule(self) -> Rule:
        """The rule that the cases were scored by."""
        return self.settings.rule

    @property
    def cautions(self) -> tuple[str, ...]:
        """Warning sentences for the reader: an unverified rule, dropped labels, missing files."""
        found = (
            self.rule.caution,
            _dropped_caution((count for case in self.cases for count in case.dropped), self.rule),
            _missing_caution(self.without_prediction, "prediction", self.settings.missing),
            _missing_caution(self.without_truth, "truth", Missing.SKIP),
        )
        return tuple(caution for caution in found if caution)

    def values(self, region: str, score: str) -> np.ndarray:
        """(n_cases,) float64 values of one score, in the order of the cases."""
        return np.array([case.scores[region][score] for case in self.cases])


def require_comparable(first: Evaluation, second: Evaluation) -> None:
    """Raise SettingsError unless both were scored by the same rule."""
    if first.rule != second.rule:
        raise SettingsError(
            "two evaluations of different rules cannot be compared",
            found=f"{first.rule.name} for {first.name} and {second.rule.name} for {second.name}",
            expected="one rule",
            remedy="Score both by the same rules.",
        )


def require_same_grid(prediction: Grid, truth: Grid, *, case: str) -> None:
    """Raise InputError unless the two label maps of a case lie on one grid."""
    difference = grid_difference(prediction, truth)
    if difference:
        raise InputError(
            f"the prediction {difference}",
            place=case,
            expected="the grid of the truth",
            remedy="Bring the prediction back to the grid of the truth and write it with that header.",
        )


def score_volumes(prediction: Volume, truth: Volume, *, case: str, settings: EvaluateSettings) -> ScoredCase:
    """The scores of one case, from two label maps in memory, each in its own numbers.

    Args:
        prediction, truth: (I, J, K) uint8 label maps on one grid.
        case: name of the case, which decides the label sets if the settings name none.

    Raises:
        InputError: the grids differ, or the labels are numbered as in another year.
    """
    require_same_grid(prediction.grid, truth.grid, case=case)
    row = settings.rule
    predicted = _translated(prediction, row, settings.prediction_labels, case=case, side="prediction")
    true = _translated(truth, row, settings.truth_labels, case=case, side="truth")
    scores = score_case(
        predicted.label_map,
        true.label_map,
        prediction.spacing_mm,
        rule=row,
        definitions=settings.definitions,
        voxel_ml=voxel_ml(prediction.affine),
    )
    return ScoredCase(case=case, scores=scores, dropped=(predicted.dropped, true.dropped))


def score_missing(truth: Volume, *, case: str, settings: EvaluateSettings) -> ScoredCase:
    """The scores of a case without a prediction, as `missed_scores` defines them.

    Args:
        truth: (I, J, K) uint8 label map in its own numbers.

    Raises:
        InputError: the labels are numbered as in another year.
    """
    row = settings.rule
    true = _translated(truth, row, settings.truth_labels, case=case, side="truth")
    scores = missed_scores(
        true.label_map,
        truth.spacing_mm,
        rule=row,
        definitions=settings.definitions,
        voxel_ml=voxel_ml(truth.affine),
    )
    return ScoredCase(case=case, scores=scores, dropped=(true.dropped,), was_missing=True)


@dataclass(frozen=True)
class _Translated:
    """A label map in the rule's numbers, and the voxel counts of the numbers that the rule drops."""

    label_map: np.ndarray
    dropped: Counter[int]


def _translated(volume: Volume, row: Rule, chosen: str | None, *, case: str, side: str) -> _Translated:
    """A label map translated from its own numbers to those of the rule.

    Args:
        chosen: name of a label set; None for the one that `_default` chooses.
        side: "prediction" or "truth".
    """
    scored = {number for region in row.regions for number in region.numbers}
    if row.labels is None:
        return _looked_up(volume.array, {number: number for number in scored})
    target = label_set(row.labels)
    source = label_set(chosen) if chosen else _default(target, case)
    _require_plausible(volume.array, source, case=case, side=side)
    pairs = {number: target.numbers[label] for label, number in source.numbers.items() if label in target.numbers}
    return _looked_up(volume.array, {number: becomes for number, becomes in pairs.items() if becomes in scored})


def _looked_up(label_map: np.ndarray, pairs: dict[int, int]) -> _Translated:
    """The label map with each number replaced by its partner; a number without one becomes 0 and is dropped."""
    table = np.zeros(256, np.uint8)
    for number, becomes in pairs.items():
        table[number] = becomes
    counts = np.bincount(label_map.reshape(-1), minlength=256)
    lost = np.flatnonzero((counts > 0) & (table == 0))
    return _Translated(table[label_map], Counter({int(n): int(counts[n]) for n in lost if n > 0}))


def _default(target: LabelSet, case: str) -> LabelSet:
    """The set that the case's name implies if the name or the rule is of 2017 to 2022, else the rule's own."""
    named = default_label_set(case)
    return named if "brats2021" in (named.name, target.name) else target


def _require_label_set(name: str | None, row: Rule, *, setting: str) -> None:
    """Raise SettingsError if a label set is unknown, or is named under a rule that has none."""
    if name is None:
        return
    if row.labels is None:
        raise SettingsError(
            f"{row.name} has no label sets", setting=setting, found=repr(name), expected="none", remedy="Leave it out."
        )
    label_set(name, setting=setting)


def _require_plausible(label_map: np.ndarray, source: LabelSet, *, case: str, side: str) -> None:
    """Raise InputError if enhancing tumour seems numbered as in another year: 4 but no 3 for 1 2 3, or the reverse.

    Maps of label sets in which both numbers have a meaning pass.
    """
    known = set(source.numbers.values())
    strange = {3, 4} - known
    if len(strange) != 1 or Label.ET not in source.numbers:
        return
    found, expected = strange.pop(), source.numbers[Label.ET]
    if (label_map == found).any() and not (label_map == expected).any():
        other = "brats2021" if found == 4 else "brats2023"
        raise InputError(
            f"holds {found} and no {expected}",
            place=f"{case}: {side}",
            setting=f"{side}_labels",
            expected=f"{', '.join(map(str, sorted(known)))} as in {source.name}",
            remedy=f"Use {other} if {found} is enhancing tumour.",
        )


def _dropped_caution(counts: Iterable[Counter[int]], row: Rule) -> str | None:
    """One sentence on all dropped labels, from the counts of every file; None if nothing was dropped."""
    lost = [count for count in counts if count]
    if not lost:
        return None
    total = sum(lost, Counter[int]())
    numbers = ", ".join(f"{number} ({n} voxels)" for number, n in sorted(total.items()))
    files = "1 file" if len(lost) == 1 else f"{len(lost)} files"
    return f"{row.name} does not score these labels, found in {files}: {numbers}. They count as background."


def _missing_caution(cases: tuple[str, ...], side: str, missing: str) -> str | None:
    if not cases:
        return None
    treatment = "scored as missed" if missing == Missing.WORST else "not scored"
    return f"{len(cases)} without a {side}, {treatment}: {', '.join(cases)}."
