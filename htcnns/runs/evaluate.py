"""Two folders of label maps: paired by case, read, and scored case by case."""

from pathlib import Path

from htcnns.files.nifti import read_grid, read_label_map
from htcnns.files.pairing import Pairing, pair_files
from htcnns.files.places import resolved
from htcnns.scores.evaluation import (
    EvaluateSettings,
    Evaluation,
    Missing,
    ScoredCase,
    require_same_grid,
    score_missing,
    score_volumes,
)


def evaluate_folders(predictions: Path, truths: Path, settings: EvaluateSettings) -> Evaluation:
    """Score every prediction in a folder against the truth of the same case.

    Raises:
        InputError: as `require_scorable`; voxels cannot be read, or the labels are those of another year.
    """
    pairing = require_scorable(predictions, truths, settings)
    cases: list[ScoredCase] = []
    for pair in pairing.pairs:
        prediction, truth = read_label_map(pair.prediction), read_label_map(pair.truth)
        cases.append(score_volumes(prediction, truth, case=pair.case, settings=settings))
    if settings.missing == Missing.WORST:
        for case, path in pairing.without_prediction.items():
            cases.append(score_missing(read_label_map(path), case=case, settings=settings))
    return Evaluation(
        name=resolved(predictions).name,
        settings=settings,
        cases=tuple(sorted(cases, key=lambda scored: scored.case)),
        without_truth=tuple(pairing.without_truth),
        without_prediction=tuple(pairing.without_prediction),
    )


def require_scorable(predictions: Path, truths: Path, settings: EvaluateSettings) -> Pairing:
    """The pairs of two folders, after checking the header of each file to be scored, as scoring may take an hour.

    Raises:
        InputError: there are no pairs, a header cannot be read, or the grids of a pair differ.
    """
    pairing = pair_files(predictions, truths)
    for pair in pairing.pairs:
        require_same_grid(read_grid(pair.prediction), read_grid(pair.truth), case=pair.case)
    if settings.missing == Missing.WORST:
        for path in pairing.without_prediction.values():
            read_grid(path)
    return pairing
