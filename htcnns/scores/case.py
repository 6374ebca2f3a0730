"""One case under one rule: a prediction and a truth in the rule's numbers become scores per region."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from htcnns.scores.columns import COLUMNS, Better, Kind
from htcnns.scores.distances import FRAME
from htcnns.scores.instance_scheme import instance_scores
from htcnns.scores.lesion_scheme import lesionwise_scores
from htcnns.scores.metrics import DEFINITIONS, dice, sensitivity, specificity
from htcnns.scores.rules import Rule, Scheme, ScoredRegion
from htcnns.scores.sparse import Pair, crop_pair, region_voxels
from htcnns.scores.surfaces import hd95_mm
from htcnns.volume import Spacing

RegionScores = dict[str, float]
CaseScores = dict[str, RegionScores]


def score_case(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing_mm: Spacing,
    *,
    rule: Rule,
    definitions: tuple[str, ...] = (),
    voxel_ml: float | None = None,
) -> CaseScores:
    """Every score of a rule for every region of a case.

    Args:
        prediction, truth: (I, J, K) uint8 label maps in the rule's numbers; other numbers count as background.
        spacing_mm: voxel size of the prediction along I, J, K; rounded to float32, as in NIfTI headers.
        rule: a row of `RULES`, or `as_meant` of one.
        definitions: names of `DEFINITIONS` to compute in addition.
        voxel_ml: true volume of a voxel, for the volumes in ml; None for the product of the spacings, which is wrong
            for a sheared grid.

    Returns:
        Scores by region name, then by score name. Counts are floats too. NaN only under the 2026 rules, as in the
        official code: scores of a region that is empty in both, precision without predicted lesions, recall without
        true ones, spreads and mean sizes without a match, large_ and small_ scores without a true lesion of that size.

    Raises:
        ValueError: the shapes differ.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction is {prediction.shape}, truth is {truth.shape}; they must be on one grid")
    frame = max(FRAME, *(region.dilation + 1 for region in rule.regions))
    pair = crop_pair(prediction, truth, spacing_mm, frame=frame)
    scores = _SCHEMES[rule.scheme](pair, rule)
    return {
        region.name: {**scores[region.name], **_more_scores(pair, region, definitions, voxel_ml)}
        for region in rule.regions
        if region.is_scored
    }


def missed_scores(
    truth: np.ndarray,
    spacing_mm: Spacing,
    *,
    rule: Rule,
    definitions: tuple[str, ...] = (),
    voxel_ml: float | None = None,
) -> CaseScores:
    """Scores of a case without a prediction: 0 where more is better, the rule's penalty for distances.

    Counts and volumes are those of an empty prediction. A region that is absent from the truth also receives the
    worst scores, as in the challenges.

    Args:
        truth: (I, J, K) uint8 label map in the rule's numbers.
    """
    scores = score_case(np.zeros_like(truth), truth, spacing_mm, rule=rule, definitions=definitions, voxel_ml=voxel_ml)
    pair = crop_pair(truth, truth, spacing_mm, frame=FRAME)
    penalty_mm = pair.penalty_mm(rule.penalty_mm)
    return {
        region: {name: _worst(name, v, penalty_mm) for name, v in values.items()} for region, values in scores.items()
    }


def _whole_scores(pair: Pair, rule: Rule) -> CaseScores:
    """Dice, HD95, sensitivity and specificity of whole masks, as in BraTS 2017 to 2022."""
    return {region.name: _whole_region(*_masks(pair, region), pair, rule) for region in rule.regions}


def _whole_region(prediction: np.ndarray, truth: np.ndarray, pair: Pair, rule: Rule) -> RegionScores:
    distance_mm = hd95_mm(prediction, truth, pair.spacing_mm)
    return {
        "dice": dice(prediction, truth),
        "hd95_mm": pair.penalty_mm(rule.penalty_mm) if np.isinf(distance_mm) else distance_mm,
        "sensitivity": sensitivity(prediction, truth),
        "specificity": specificity(prediction, truth, n_voxels=pair.n_voxels),
    }


_SCHEMES: Mapping[Scheme, Callable[[Pair, Rule], CaseScores]] = MappingProxyType(
    {
        Scheme.WHOLE: _whole_scores,
        Scheme.LESIONS: lesionwise_scores,
        Scheme.INSTANCES: instance_scores,
    }
)


def _more_scores(
    pair: Pair, region: ScoredRegion, definitions: tuple[str, ...], voxel_ml: float | None
) -> RegionScores:
    """Volumes, and the scores requested by name."""
    counts = [region_voxels(side, region).index.size for side in (pair.prediction, pair.truth)]
    predicted_ml, true_ml = (n * (pair.voxel_mm3 / 1000 if voxel_ml is None else voxel_ml) for n in counts)
    volumes = {
        "truth_of_spacing_mm3": counts[1] * pair.voxel_mm3,  # what the official code calls the volume
        "prediction_volume_ml": predicted_ml,
        "truth_volume_ml": true_ml,
        "volume_error_ml": predicted_ml - true_ml,
    }
    return volumes | {name: DEFINITIONS[name](*_masks(pair, region), pair.spacing_mm) for name in definitions}


def _masks(pair: Pair, region: ScoredRegion) -> tuple[np.ndarray, np.ndarray]:
    return region_voxels(pair.prediction, region).mask(), region_voxels(pair.truth, region).mask()


def _worst(name: str, value: float, penalty_mm: float) -> float:
    """The worst value of a score; `value` itself for counts, volumes and scores outside `COLUMNS`."""
    column = COLUMNS.get(name)
    if column is None or column.better is Better.NEITHER or column.kind is Kind.COUNT:
        return value
    return penalty_mm if column.kind is Kind.DISTANCE else 0.0
