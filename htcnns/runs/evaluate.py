"""Predictions against truths: every score of every case and region, and what is missing on either side."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from htcnns.errors import InputError, SettingsError, require_known
from htcnns.files.nifti import read_label_map
from htcnns.runs.label_numbers import dropped_warning, require_plausible, translation
from htcnns.runs.pairing import FilePair, pair_files
from htcnns.scores.case import CaseScores, missed_scores, score_case
from htcnns.scores.metrics import DEFINITIONS
from htcnns.scores.rules import Rule, as_meant, rule
from htcnns.volume import Volume, grid_difference_mm

MISSING = ("skip", "worst")
_GRID_TOLERANCE_MM = 0.1  # float noise of headers stays below a thousandth; a wrong grid is off by a voxel


@dataclass(frozen=True)
class EvaluateSettings:
    """How predictions are scored.

    Attributes:
        rules: name of a row of `RULES`.
        as_meant: without the known bugs of the official code.
        prediction_labels, truth_labels: names of label sets; None to go by the cases' names.
        definitions: names of `DEFINITIONS` to compute besides the rule's scores.
        missing: what a truth without a prediction gets: "skip" only lists it, "worst" scores it as missed.

    Raises:
        SettingsError: an unknown name; the message lists the known ones.
    """

    rules: str = "brats2023-gli"
    as_meant: bool = False
    prediction_labels: str | None = None
    truth_labels: str | None = None
    definitions: tuple[str, ...] = ()
    missing: str = "skip"

    def __post_init__(self) -> None:
        rule(self.rules)
        require_known(self.missing, MISSING, what="choice", where="--missing")
        for name in self.definitions:
            require_known(name, DEFINITIONS, what="score", where="--also")

    @property
    def row(self) -> Rule:
        """The rule, as asked for."""
        return as_meant(rule(self.rules)) if self.as_meant else rule(self.rules)


@dataclass(frozen=True)
class ScoredCase:
    """One case: its scores by region, by name; whether its prediction was missing and scored as missed."""

    case: str
    scores: CaseScores
    was_missing: bool = False


@dataclass(frozen=True)
class Evaluation:
    """Everything that was scored, and all that a reader must know of it.

    Attributes:
        name: of the predictions: their folder's.
        cases: by case name.
        without_truth, without_prediction: names of cases that lack one side.
        cautions: sentences to print: an unverified rule, dropped labels, missing files.
    """

    name: str
    settings: EvaluateSettings
    cases: tuple[ScoredCase, ...]
    without_truth: tuple[str, ...]
    without_prediction: tuple[str, ...]
    cautions: tuple[str, ...]

    @property
    def rule(self) -> Rule:
        """The rule that scored."""
        return self.settings.row

    def values(self, region: str, score: str) -> np.ndarray:
        """(n_cases,) float64 of one score, in the order of the cases."""
        return np.array([case.scores[region][score] for case in self.cases])


def evaluate_folders(predictions: Path, truths: Path, settings: EvaluateSettings) -> Evaluation:
    """Score every prediction in a folder against the truth of the same case.

    Raises:
        InputError: nothing pairs, a file cannot be read, grids differ, or the labels are of another year.
        SettingsError: label sets under a rule that has none.
    """
    pairing = pair_files(predictions, truths)
    cases: list[ScoredCase] = []
    dropped: dict[str, Counter[int]] = {}
    for pair in pairing.pairs:
        scored, lost = _score_pair(pair, settings)
        cases.append(scored)
        dropped |= lost
    if settings.missing == "worst":
        cases += [_score_missing(case, path, settings) for case, path in pairing.without_prediction.items()]
    cautions = [
        settings.row.caution,
        dropped_warning(dropped, settings.row),
        _missing_warning(tuple(pairing.without_prediction), "prediction", settings.missing),
        _missing_warning(tuple(pairing.without_truth), "truth", "skip"),
    ]
    return Evaluation(
        name=predictions.resolve().name,
        settings=settings,
        cases=tuple(sorted(cases, key=lambda case: case.case)),
        without_truth=tuple(pairing.without_truth),
        without_prediction=tuple(pairing.without_prediction),
        cautions=tuple(caution for caution in cautions if caution),
    )


def score_volumes(prediction: Volume, truth: Volume, case: str, settings: EvaluateSettings) -> CaseScores:
    """The scores of one case from two label maps in memory, in their own numbers.

    Raises:
        InputError: the grids differ, or the labels are of another year.
    """
    _require_same_grid(prediction, truth, where=case)
    prediction_numbers = translation(settings.row, settings.prediction_labels, case)
    truth_numbers = translation(settings.row, settings.truth_labels, case)
    require_plausible(prediction.array, prediction_numbers.name, where=f"{case}, prediction", side="prediction")
    require_plausible(truth.array, truth_numbers.name, where=f"{case}, truth", side="truth")
    return score_case(
        prediction_numbers(prediction.array),
        truth_numbers(truth.array),
        prediction.spacing_mm,
        rule=settings.row,
        definitions=settings.definitions,
    )


def _score_pair(pair: FilePair, settings: EvaluateSettings) -> tuple[ScoredCase, dict[str, Counter[int]]]:
    """The scored case, and how many voxels of each label were dropped from which file."""
    prediction, truth = read_label_map(pair.prediction), read_label_map(pair.truth)
    scores = score_volumes(prediction, truth, pair.case, settings)
    dropped = {
        str(pair.prediction): translation(settings.row, settings.prediction_labels, pair.case).dropped(
            prediction.array
        ),
        str(pair.truth): translation(settings.row, settings.truth_labels, pair.case).dropped(truth.array),
    }
    return ScoredCase(pair.case, scores), dropped


def _score_missing(case: str, path: Path, settings: EvaluateSettings) -> ScoredCase:
    truth = read_label_map(path)
    numbers = translation(settings.row, settings.truth_labels, case)
    require_plausible(truth.array, numbers.name, where=f"{case}, truth", side="truth")
    scores = missed_scores(numbers(truth.array), truth.spacing_mm, rule=settings.row, definitions=settings.definitions)
    return ScoredCase(case, scores, was_missing=True)


def _require_same_grid(prediction: Volume, truth: Volume, *, where: str) -> None:
    if prediction.array.shape != truth.array.shape:
        raise InputError(
            f"{where}: the grids differ; the prediction has {_size(prediction)} voxels, the truth {_size(truth)}. "
            "Bring the prediction back to the grid of the truth."
        )
    apart_mm = grid_difference_mm(prediction.affine, truth.affine, truth.array.shape)
    if apart_mm > _GRID_TOLERANCE_MM:
        raise InputError(
            f"{where}: the grids differ; prediction and truth lie up to {apart_mm:.1f} mm apart, expected less than "
            f"{_GRID_TOLERANCE_MM} mm. Write the prediction with the header of the scan."
        )


def _size(volume: Volume) -> str:
    return "x".join(map(str, volume.array.shape))


def _missing_warning(cases: tuple[str, ...], side: str, missing: str) -> str | None:
    if not cases:
        return None
    treatment = "scored as missed" if missing == "worst" else "not scored"
    return f"{len(cases)} without a {side}, {treatment}: {', '.join(cases)}."


def require_comparable(first: Evaluation, second: Evaluation) -> None:
    """Raise SettingsError unless both were scored by the same rule."""
    if first.rule != second.rule:
        raise SettingsError(
            f"{first.name} was scored by {first.rule.name}, {second.name} by {second.rule.name}; expected one rule. "
            "Score both alike."
        )
