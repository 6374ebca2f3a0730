"""Scores as in BraTS 2026: connected components matched one to one, then scored in pairs.

Source: BraTS/BraTS_evaluation 0.0.10, which runs panoptica 2.1.7 (maximum bipartite matching on Dice) and then its
own table of large and small metastases; both reimplemented here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from htcnns.scores.columns import COLUMNS, Kind
from htcnns.scores.distances import Surface, distances_mm, partner_distances_mm
from htcnns.scores.lesions import Lesions, pair_counts, plain_lesions
from htcnns.scores.matching import best_matches, percentiles_by_group
from htcnns.scores.metrics import border_of, dice_of_counts
from htcnns.scores.rules import Rule
from htcnns.scores.sparse import Pair, Voxels, region_voxels
from htcnns.volume import Spacing

_MATCHED_FROM = 1e-6  # matching_threshold in the organisers' configuration
_PERCENTILE = 95
_WHOLE_TOLERANCE = 0.5  # panoptica's default when it is given no voxel size
_FOUND_FROM = 0.2  # Dice at which brats-infra counts a matched metastasis as found
_LARGE_PENALTY_MM = 373.0  # "diameter of the cube in SRI space"


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One lesion of the truth with the scores of its match, or those of a miss if it has none."""

    n_voxels: int
    is_matched: bool = False
    dice: float = 0.0
    hd95_mm: float = _LARGE_PENALTY_MM
    nsd: float = 0.0


def instance_scores(pair: Pair, rule: Rule) -> dict[str, dict[str, float]]:
    """Instance-wise and whole-mask scores of every region of a case, under a rule of 2026."""
    spacing_mm = pair.spacing_mm if rule.turns_spacing else pair.spacing_mm[::-1]
    label_maps = _turned(pair.prediction), _turned(pair.truth)
    scores = {}
    for region in rule.regions:
        prediction, truth = (plain_lesions(region_voxels(label_map, region)) for label_map in label_maps)
        instances = matched_instances(prediction, truth, spacing_mm)
        n_lesions = prediction.n_lesions, truth.n_lesions
        scores[region.name] = {
            **_mean_scores(instances, n_lesions, pair.voxel_mm3),
            **_whole_scores(prediction, truth, (1.0, 1.0, 1.0) if rule.whole_in_voxels else spacing_mm, rule),
        }
        if rule.large_lesion_mm3 is not None:
            n_fp = prediction.n_lesions - sum(i.is_matched for i in instances)
            scores[region.name] |= large_lesion_scores(
                instances, n_fp=n_fp, voxel_mm3=pair.voxel_mm3, large_mm3=rule.large_lesion_mm3
            )
    return scores


def matched_instances(prediction: Lesions, truth: Lesions, spacing_mm: Spacing) -> list[Instance]:
    """Every lesion of the truth, with the scores of the predicted lesion matched to it, if any.

    Matches are one to one with the largest possible sum of Dice. NSD's tolerance is the shortest side of a voxel.
    """
    n_voxels = truth.sizes.tolist()
    lesions, partners, dices = _matched_pairs(prediction, truth)
    if lesions.size == 0:
        return [Instance(n_voxels=n) for n in n_voxels]
    hd95_mm, nsd = _pair_scores(prediction, truth, (lesions, partners), spacing_mm)
    found = {
        lesion: Instance(n_voxels=n_voxels[lesion - 1], is_matched=True, dice=dice, hd95_mm=distance_mm, nsd=share)
        for lesion, dice, distance_mm, share in zip(
            lesions.tolist(), dices.tolist(), hd95_mm.tolist(), nsd.tolist(), strict=True
        )
    }
    return [found.get(lesion) or Instance(n_voxels=n) for lesion, n in enumerate(n_voxels, start=1)]


def large_lesion_scores(
    instances: Sequence[Instance], *, n_fp: int, voxel_mm3: float, large_mm3: float
) -> dict[str, float]:
    """The table of the metastases challenge: large lesions scored and counted, small ones only counted.

    Every false positive counts as large and as small. All scores of a size are NaN if the truth has no such lesion.
    """
    large = [i for i in instances if i.n_voxels * voxel_mm3 >= large_mm3]
    small = [i for i in instances if i.n_voxels * voxel_mm3 < large_mm3]
    values = {
        "dice": [i.dice for i in large] + [0.0] * n_fp,
        "nsd": [i.nsd for i in large] + [0.0] * n_fp,
        "hd95_mm": [i.hd95_mm for i in large] + [_LARGE_PENALTY_MM] * n_fp,
    }
    scores = {f"large_{name}": float(np.mean(v)) if large else math.nan for name, v in values.items()}
    spreads = {f"large_{name}_sd": float(np.std(v)) if large else math.nan for name, v in values.items()}
    return {**scores, **spreads, **_detection("large", large, n_fp), **_detection("small", small, n_fp)}


def _turned(label_map: Voxels) -> Voxels:
    """(K, J, I): the axis order of the organisers' reader, SimpleITK, which decides how lesions are numbered."""
    return Voxels.of(np.ascontiguousarray(label_map.paint().T))


def _matched_pairs(prediction: Lesions, truth: Lesions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) matched lesions of the truth, the predicted lesion of each, and their Dice."""
    true = truth.reach.reshape(-1)[prediction.voxels.index]
    pairs, common = pair_counts(true, prediction.voxels.numbers)
    ours, theirs = pairs.T - 1
    dices = 2 * common / (truth.sizes[ours] + prediction.sizes[theirs])
    alike = dices >= _MATCHED_FROM
    pairs, dices = pairs[alike], dices[alike]
    chosen = best_matches(pairs, dices, n_lesions=(truth.n_lesions, prediction.n_lesions))
    return pairs[chosen, 0], pairs[chosen, 1], dices[chosen]


def _pair_scores(
    prediction: Lesions, truth: Lesions, matched: tuple[np.ndarray, np.ndarray], spacing_mm: Spacing
) -> tuple[np.ndarray, np.ndarray]:
    """(n,) HD95 and (n,) NSD of every matched lesion and its partner: `_border_scores` of all pairs at once."""
    lesions, partners = matched
    one, other = border_of(prediction.voxels), border_of(truth.voxels)
    pair_of_predicted, pair_of_true = (
        _places(numbers, side.n_lesions) for numbers, side in ((partners, prediction), (lesions, truth))
    )
    true_of = np.append(0, lesions)[pair_of_predicted]
    predicted_of = np.append(0, partners)[pair_of_true]
    there_of, there = partner_distances_mm(one, other, true_of, spacing_mm)
    back_of, back = partner_distances_mm(other, one, predicted_of, spacing_mm)
    there_of, back_of = pair_of_predicted[there_of] - 1, pair_of_true[back_of] - 1
    hd95_mm = percentiles_by_group(
        np.concatenate([there, back]), np.concatenate([there_of, back_of]), percentile=_PERCENTILE
    )
    shares = [
        np.bincount(pair, weights=distances <= min(spacing_mm), minlength=lesions.size)
        / np.bincount(pair, minlength=lesions.size)
        for pair, distances in ((there_of, there), (back_of, back))
    ]
    return hd95_mm, (shares[0] + shares[1]) / 2


def _places(numbers: np.ndarray, n_lesions: int) -> np.ndarray:
    """(n_lesions + 1,) position of each lesion in `numbers`, counted from 1; 0 if it is not listed."""
    places = np.zeros(n_lesions + 1, np.int64)
    places[numbers] = np.arange(1, numbers.size + 1)
    return places


def _border_scores(one: Surface, other: Surface, spacing_mm: Spacing, tolerance_mm: float) -> tuple[float, float]:
    """HD95 (both directions taken together) and NSD of two borders, neither empty."""
    there, back = distances_mm(one, other, spacing_mm), distances_mm(other, one, spacing_mm)
    nsd = (np.mean(there <= tolerance_mm) + np.mean(back <= tolerance_mm)) / 2
    return float(np.percentile(np.concatenate([there, back]), _PERCENTILE)), float(nsd)


def _mean_scores(instances: list[Instance], n_lesions: tuple[int, int], voxel_mm3: float) -> dict[str, float]:
    """Counts, precision, recall, F1 and the means over matched pairs; NaN as documented in `score_case`."""
    found = [i for i in instances if i.is_matched]
    n_tp, n_fp, n_fn = len(found), n_lesions[0] - len(found), n_lesions[1] - len(found)
    f1 = n_tp / (n_tp + 0.5 * n_fp + 0.5 * n_fn) if sum(n_lesions) else math.nan
    lists = {
        "lesion_dice": [i.dice for i in found],
        "lesion_hd95_mm": [i.hd95_mm for i in found],
        "lesion_nsd": [i.nsd for i in found],
    }
    means = {name: float(np.mean(v)) if found else _nothing_found(name, n_lesions) for name, v in lists.items()}
    spreads = {f"{name}_sd": float(np.std(v)) if found else math.nan for name, v in lists.items()}
    mean_voxels = float(np.mean([i.n_voxels for i in found])) if found else math.nan
    return {
        **means,
        **spreads,
        "f1": f1,
        "precision": n_tp / n_lesions[0] if n_lesions[0] else math.nan,
        "recall": n_tp / n_lesions[1] if n_lesions[1] else math.nan,
        "panoptic_quality": means["lesion_dice"] * f1,
        "n_tp": float(n_tp),
        "n_fp": float(n_fp),
        "n_fn": float(n_fn),
        "n_prediction": float(n_lesions[0]),
        "n_truth": float(n_lesions[1]),
        "found_voxels": mean_voxels,
        "found_volume_ml": mean_voxels * voxel_mm3 / 1000,
    }


def _whole_scores(prediction: Lesions, truth: Lesions, spacing_mm: Spacing, rule: Rule) -> dict[str, float]:
    """Whole-region Dice, HD95, NSD: `_nothing_found` if a mask is empty or, by the quirk, if no voxel is common."""
    n_prediction, n_truth = prediction.voxels.index.size, truth.voxels.index.size
    n_common = int(np.count_nonzero(truth.reach.reshape(-1)[prediction.voxels.index]))
    n_lesions = prediction.n_lesions, truth.n_lesions
    if 0 in n_lesions or (rule.whole_in_voxels and n_common == 0):
        names = {"dice": "lesion_dice", "hd95_mm": "lesion_hd95_mm", "nsd": "lesion_nsd"}
        values = {name: _nothing_found(like, n_lesions) for name, like in names.items()}
    else:
        hd95_mm, nsd = _border_scores(
            border_of(prediction.voxels), border_of(truth.voxels), spacing_mm, _WHOLE_TOLERANCE
        )
        values = {"dice": dice_of_counts(n_common, n_prediction, n_truth), "hd95_mm": hd95_mm, "nsd": nsd}
    return {**values, "n_prediction_voxels": float(n_prediction), "n_truth_voxels": float(n_truth)}


def _nothing_found(name: str, n_lesions: tuple[int, int]) -> float:
    """The score of a region without any match: NaN if it is empty in both, else 0, or inf for a distance."""
    if sum(n_lesions) == 0:
        return math.nan
    return math.inf if COLUMNS[name].kind is Kind.DISTANCE else 0.0


def _detection(size: str, lesions: Sequence[Instance], n_fp: int) -> dict[str, float]:
    """Lesions of one size found and missed, with precision, recall and F1; NaN when the truth has none of that size."""
    n_tp = sum(i.is_matched and i.dice >= _FOUND_FROM for i in lesions)
    n_fn = len(lesions) - n_tp
    values = {
        "n_tp": n_tp,
        "n_fp": n_fp,
        "n_fn": n_fn,
        "precision": n_tp / (n_tp + n_fp) if n_tp + n_fp else 0.0,
        "recall": n_tp / (n_tp + n_fn) if n_tp + n_fn else 0.0,
        "f1": 2 * n_tp / (2 * n_tp + n_fp + n_fn) if 2 * n_tp + n_fp + n_fn else 0.0,
    }
    return {f"{size}_{name}": float(value) if lesions else math.nan for name, value in values.items()}
