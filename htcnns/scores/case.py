"""One case under one rule: a prediction and a truth in the rule's numbers become scores per region."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from htcnns.scores.instances import instance_scores
from htcnns.scores.lesionwise import lesionwise_scores
from htcnns.scores.metrics import DEFINITIONS, dice, sensitivity, specificity
from htcnns.scores.nearest import FRAME
from htcnns.scores.pair import Pair, crop_pair, tissue_voxels
from htcnns.scores.rules import Rule, Scheme, Tissue
from htcnns.scores.surfaces import hd95_mm
from htcnns.volume import Spacing

RegionScores = dict[str, float]
CaseScores = dict[str, RegionScores]


@dataclass(frozen=True)
class Column:
    """One score as tables show it: its unit, and whether more (1) or less (-1) of it is better, or neither (0)."""

    name: str
    unit: str
    better: int


COLUMNS = {
    column.name: column
    for column in (
        Column("lesion_dice", "", 1),
        Column("lesion_hd95_mm", "mm", -1),
        Column("dice", "", 1),
        Column("hd95_mm", "mm", -1),
        Column("sensitivity", "", 1),
        Column("specificity", "", 1),
        Column("lesion_nsd_0.5mm", "", 1),
        Column("lesion_nsd_1mm", "", 1),
        Column("lesion_nsd", "", 1),
        Column("nsd_0.5mm", "", 1),
        Column("nsd_1mm", "", 1),
        Column("nsd", "", 1),
        Column("f1", "", 1),
        Column("precision", "", 1),
        Column("recall", "", 1),
        Column("panoptic_quality", "", 1),
        Column("n_tp", "", 1),
        Column("n_fp", "", -1),
        Column("n_fn", "", -1),
        Column("prediction_volume_ml", "ml", 0),
        Column("truth_volume_ml", "ml", 0),
        Column("volume_error_ml", "ml", 0),
        Column("hd95-deepmind", "mm", -1),
        Column("hd95-medpy", "mm", -1),
        Column("hd95-monai", "mm", -1),
        Column("nsd-0.5mm", "", 1),
        Column("nsd-1mm", "", 1),
    )
}
"""The scores that people read; others of a rule (spreads, counts of large lesions) are written to files only."""


def score_case(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing_mm: Spacing,
    *,
    rule: Rule,
    definitions: tuple[str, ...] = (),
) -> CaseScores:
    """Every score of a rule for every region of a case.

    Args:
        prediction, truth: (I, J, K) uint8 label maps in the rule's numbers; other numbers count as background.
        spacing_mm: voxel size of the prediction along I, J, K; rounded to float32, as NIfTI headers hold it.
        rule: a row of `RULES`, or `as_meant` of one.
        definitions: names of `DEFINITIONS` to compute besides.

    Returns:
        Scores by region, by name of the score. Counts are floats too. NaN only under the 2026 rules, where the
        official code has it: scores of a region that is empty in both, precision without predicted lesions, recall
        without lesions, standard deviations without a match.

    Raises:
        ValueError: the shapes differ.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction is {prediction.shape}, truth is {truth.shape}; they must be one grid")
    frame = max(FRAME, *(tissue.dilation + 1 for tissue in rule.tissues))
    pair = crop_pair(prediction, truth, spacing_mm, frame=frame)
    scores = _SCHEMES[rule.scheme](pair, rule)
    return {
        tissue.name: {**scores[tissue.name], **_more_scores(pair, tissue, definitions)}
        for tissue in rule.tissues
        if tissue.scored
    }


def missed_scores(
    truth: np.ndarray, spacing_mm: Spacing, *, rule: Rule, definitions: tuple[str, ...] = ()
) -> CaseScores:
    """What a case without a prediction gets: 0 where more is better, the rule's penalty for distances.

    Counts and volumes are those of an empty prediction. A region that the truth does not have gets the worst too, as
    the challenges have it.

    Args:
        truth: (I, J, K) uint8 label map in the rule's numbers.
    """
    scores = score_case(np.zeros_like(truth), truth, spacing_mm, rule=rule, definitions=definitions)
    pair = crop_pair(truth, truth, spacing_mm, frame=FRAME)
    penalty_mm = pair.penalty_mm(rule.penalty_mm)
    return {
        region: {name: _worst(name, v, penalty_mm) for name, v in values.items()} for region, values in scores.items()
    }


def _whole_scores(pair: Pair, rule: Rule) -> CaseScores:
    """Dice, HD95, sensitivity and specificity of whole masks, as BraTS 2017 to 2022 had them."""
    return {tissue.name: _whole_region(*_masks(pair, tissue), pair, rule) for tissue in rule.tissues}


def _whole_region(prediction: np.ndarray, truth: np.ndarray, pair: Pair, rule: Rule) -> RegionScores:
    distance_mm = hd95_mm(prediction, truth, pair.spacing_mm)
    return {
        "dice": dice(prediction, truth),
        "hd95_mm": pair.penalty_mm(rule.penalty_mm) if np.isinf(distance_mm) else distance_mm,
        "sensitivity": sensitivity(prediction, truth),
        "specificity": specificity(prediction, truth, n_voxels=pair.n_voxels),
    }


_SCHEMES: dict[Scheme, Callable[[Pair, Rule], CaseScores]] = {
    Scheme.WHOLE: _whole_scores,
    Scheme.LESIONS: lesionwise_scores,
    Scheme.INSTANCES: instance_scores,
}


def _more_scores(pair: Pair, tissue: Tissue, definitions: tuple[str, ...]) -> RegionScores:
    """Volumes, and the scores that were asked for by name."""
    sides = tissue_voxels(pair.prediction, tissue), tissue_voxels(pair.truth, tissue)
    predicted_ml, true_ml = (voxels.index.size * pair.voxel_mm3 / 1000 for voxels in sides)
    volumes = {
        "prediction_volume_ml": predicted_ml,
        "truth_volume_ml": true_ml,
        "volume_error_ml": predicted_ml - true_ml,
    }
    return volumes | {name: DEFINITIONS[name](*_masks(pair, tissue), pair.spacing_mm) for name in definitions}


def _masks(pair: Pair, tissue: Tissue) -> tuple[np.ndarray, np.ndarray]:
    return tissue_voxels(pair.prediction, tissue).mask(), tissue_voxels(pair.truth, tissue).mask()


def _worst(name: str, value: float, penalty_mm: float) -> float:
    column = COLUMNS.get(name)
    if column is None or column.better == 0 or name.startswith("n_"):
        return value
    return 0.0 if column.better > 0 else penalty_mm
