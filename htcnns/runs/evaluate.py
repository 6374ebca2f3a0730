"""Two folders of label maps: paired by case, read, and scored case by case."""

from pathlib import Path

from htcnns.files.nifti import read_label_map
from htcnns.files.pairing import pair_files
from htcnns.files.places import resolved
from htcnns.scores.evaluation import (
    EvaluateSettings,
    Evaluation,
    Missing,
    ScoredCase,
    score_missing,
    score_volumes,
)


def evaluate_folders(predictions: Path, truths: Path, settings: EvaluateSettings) -> Evaluation:
    """Score every prediction in a folder against the truth of the same case.

    Raises:
        InputError: nothing pairs, a file cannot be read, grids differ, or the labels are of another year.
    """
    pairing = pair_files(predictions, truths)
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
