"""Lesion-wise scores as in BraTS 2023 to 2025: every lesion of the truth against the predicted lesions near it.

A lesion is scored against all predicted lesions that come within its reach, each taken whole. The mean runs over the
lesions of the truth that are large enough and over the predicted lesions that reach none (Dice 0, HD95 the penalty).
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from htcnns.scores.distances import Surface
from htcnns.scores.lesions import (
    Lesions,
    Matches,
    dilate,
    joined_by_touch,
    match,
    merged_lesions,
    plain_lesions,
    without_small,
)
from htcnns.scores.metrics import border_nsd, border_of, dice_of_counts
from htcnns.scores.rules import Rule, ScoredRegion
from htcnns.scores.sparse import Pair, Voxels, number_table, region_voxels
from htcnns.scores.surfaces import surface_areas_mm2, surface_hd95_mm, surface_of
from htcnns.volume import Box, Spacing

_NSD_SHRINK = 2 / (2 + 1e-8)  # BraTS 2025 adds 1e-8 to a denominator that is always 2
NSD_TOLERANCES_MM: Mapping[str, float] = MappingProxyType({"nsd_0.5mm": 0.5, "nsd_1mm": 1.0})


@dataclass(frozen=True)
class _Surfaces:
    """The surfaces of some lesions: elements for HD95, border voxels for NSD (None if the rule has no NSD)."""

    elements: Surface
    border: Surface | None

    def only(self, labels: np.ndarray) -> "_Surfaces":
        """The surfaces of these lesions alone."""
        return _Surfaces(self.elements.only(labels), self.border and self.border.only(labels))


@dataclass(frozen=True)
class _Side:
    """One mask of a region: its lesions and their surfaces."""

    lesions: Lesions
    surfaces: _Surfaces


def lesionwise_scores(pair: Pair, rule: Rule) -> dict[str, dict[str, float]]:
    """Whole-mask and lesion-wise scores of every region of a case, under a rule of 2023 to 2025."""
    truths = region_lesions(pair.truth, rule.regions, inside=pair.inside)
    if rule.merges_prediction:
        per_voxel = 1 / pair.voxel_mm3 if rule.drops_by_volume else 1.0
        predictions = region_lesions(pair.prediction, rule.regions, inside=pair.inside, drop_per_ignored=per_voxel)
    else:
        predictions = {r.name: plain_lesions(region_voxels(pair.prediction, r)) for r in rule.regions}
    return {
        region.name: _region_scores(predictions[region.name], truths[region.name], pair, rule, region)
        for region in rule.regions
        if region.is_scored
    }


def region_lesions(
    label_map: Voxels, regions: tuple[ScoredRegion, ...], *, inside: Box, drop_per_ignored: float | None = None
) -> dict[str, Lesions]:
    """The lesions of every region, joined by dilation, then by the touch of other regions.

    Args:
        label_map: the labelled voxels, in the rule's numbers.
        inside: the part of the array that lies within the volume; dilation stops there.
        drop_per_ignored: voxels per unit of `ScoredRegion.ignored`; smaller merged lesions are dropped before any is
            joined by touch. None to keep them all.
    """
    dilated = _dilated(label_map, regions, inside)
    lesions = {r.name: merged_lesions(region_voxels(label_map, r), dilated[r.name]) for r in regions}
    if drop_per_ignored is not None:
        for region in regions:
            lesions[region.name] = without_small(lesions[region.name], most_voxels=region.ignored * drop_per_ignored)
    joined = {
        region.name: joined_by_touch(lesions[region.name], [lesions[other] for other in region.joined_by])
        for region in regions
        if region.joined_by
    }
    return {**lesions, **joined}


def _dilated(label_map: Voxels, regions: tuple[ScoredRegion, ...], inside: Box) -> dict[str, np.ndarray]:
    """Every region's mask, dilated by its iterations; masks are bits of one byte, so one pass dilates them all."""
    bits = np.packbits([number_table(region) for region in regions], axis=0, bitorder="little")[0]
    planes = label_map.numbered(bits[label_map.numbers]).paint()
    dilated, done = {}, 0
    for iterations in sorted({region.dilation for region in regions}):
        planes = dilate(planes, iterations=iterations - done)
        done = iterations
        for bit, region in enumerate(regions):
            if region.dilation == iterations:
                dilated[region.name] = np.zeros(planes.shape, bool)
                dilated[region.name][inside] = (planes[inside] & np.uint8(1 << bit)) != 0
    return dilated


def _region_scores(
    prediction: Lesions, truth: Lesions, pair: Pair, rule: Rule, region: ScoredRegion
) -> dict[str, float]:
    """The scores of one region, those of the whole mask last."""
    matches = match(prediction, truth)
    penalty_mm = pair.penalty_mm(rule.penalty_mm)
    sides = _side(prediction, pair.spacing_mm, rule), _side(truth, pair.spacing_mm, rule)
    counted = np.flatnonzero(matches.n_voxels_truth * pair.voxel_mm3 > region.ignored)
    found = np.isin(counted + 1, matches.pairs[:, 0])
    n_fp = matches.n_false_positives
    n_all = counted.size + (n_fp if rule.counts_false_positives else 0)
    values = [_lesion_values(matches, lesion, sides, pair.spacing_mm, penalty_mm) for lesion in counted.tolist()]
    invented = _missed(sides[1], penalty_mm)
    return {
        **{f"lesion_{name}": _mean([v[name] for v in values], worst, n_all) for name, worst in invented.items()},
        "n_tp": float(found.sum()),
        "n_fp": float(n_fp),
        "n_fn": float((~found).sum()),
        **_whole_scores(sides, matches, pair, rule, penalty_mm),
    }


def _mean(values: list[float], worst: float, n_all: int) -> float:
    """Mean over lesions and false positives; the best value, 1 or 0 mm, when there is neither."""
    if n_all == 0:
        return 1.0 if worst == 0 else 0.0
    return (sum(values) + worst * (n_all - len(values))) / n_all


def _lesion_values(
    matches: Matches, lesion: int, sides: tuple[_Side, _Side], spacing_mm: Spacing, penalty_mm: float
) -> dict[str, float]:
    """Dice, HD95 and NSD of one lesion of the truth, counted from 0, against every predicted lesion that touches it."""
    touching = matches.touching(lesion)
    if touching.size == 0:
        return _missed(sides[1], penalty_mm)
    prediction = sides[0].surfaces.only(touching)
    truth = sides[1].surfaces.only(np.array([lesion + 1]))
    return {"dice": matches.dice(lesion), **_surface_values(prediction, truth, spacing_mm)}


def _surface_values(prediction: _Surfaces, truth: _Surfaces, spacing_mm: Spacing) -> dict[str, float]:
    values = {"hd95_mm": surface_hd95_mm(prediction.elements, truth.elements, spacing_mm)}
    if prediction.border and truth.border:
        for name, tolerance_mm in NSD_TOLERANCES_MM.items():
            found = border_nsd(prediction.border, truth.border, spacing_mm, tolerance_mm=tolerance_mm)
            values[name] = found * _NSD_SHRINK
    return values


def _missed(truth: _Side, penalty_mm: float) -> dict[str, float]:
    """The scores of a lesion that was missed or invented."""
    missed = {"dice": 0.0, "hd95_mm": penalty_mm}
    return {**missed, **dict.fromkeys(NSD_TOLERANCES_MM, 0.0)} if truth.surfaces.border else missed


def _side(lesions: Lesions, spacing_mm: Spacing, rule: Rule) -> _Side:
    elements = surface_of(lesions.voxels, surface_areas_mm2(spacing_mm))
    return _Side(lesions, _Surfaces(elements, border_of(lesions.voxels) if rule.has_nsd else None))


def _whole_scores(
    sides: tuple[_Side, _Side], matches: Matches, pair: Pair, rule: Rule, penalty_mm: float
) -> dict[str, float]:
    """Scores of the whole region, as if it were one lesion."""
    counts = _counts_of_masks(matches)
    values = {"dice": dice_of_counts(counts.n_common, counts.n_prediction, counts.n_truth)}
    if counts.n_prediction and counts.n_truth:
        values |= _surface_values(sides[0].surfaces, sides[1].surfaces, pair.spacing_mm)
    elif counts.n_prediction or counts.n_truth:
        values |= _missed(sides[1], penalty_mm)
    else:
        values |= {name: _mean([], worst, 0) for name, worst in _missed(sides[1], penalty_mm).items()}
    if rule.whole_from_label_image:
        values |= _label_image_hd95(sides, pair.spacing_mm, penalty_mm)
        counts = _counts_of_label_images(sides[0].lesions, sides[1].lesions)
    return {**values, **_agreement(counts, pair.n_voxels)}


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """What sensitivity and specificity are computed from; for masks, `sum_…` and `n_…` are the same."""

    sum_prediction: int
    sum_truth: int
    n_prediction: int
    n_truth: int
    n_common: int


def _counts_of_masks(matches: Matches) -> _Counts:
    n_prediction, n_truth = int(matches.n_voxels_prediction.sum()), int(matches.n_voxels_truth.sum())
    return _Counts(
        sum_prediction=n_prediction,
        sum_truth=n_truth,
        n_prediction=n_prediction,
        n_truth=n_truth,
        n_common=int(matches.n_common.sum()),
    )


def _counts_of_label_images(prediction: Lesions, truth: Lesions) -> _Counts:
    """QUIRK: the numbers of the lesions are summed as if they were ones, and only the first lesion is compared."""
    first_predicted, first_true = (s.voxels.index[s.voxels.numbers == 1] for s in (prediction, truth))
    return _Counts(
        sum_prediction=int(prediction.voxels.numbers.sum(dtype=np.int64)),
        sum_truth=int(truth.voxels.numbers.sum(dtype=np.int64)),
        n_prediction=first_predicted.size,
        n_truth=first_true.size,
        n_common=np.intersect1d(first_predicted, first_true, assume_unique=True).size,
    )


def _label_image_hd95(sides: tuple[_Side, _Side], spacing_mm: Spacing, penalty_mm: float) -> dict[str, float]:
    """QUIRK: HD95 of the numbered lesions, as if their numbers were a mask; empty if there are no lesions."""
    if not any(side.lesions.voxels.index.size for side in sides):
        return {}
    areas = surface_areas_mm2(spacing_mm)
    one, other = (surface_of(side.lesions.voxels, areas, multiplied=True) for side in sides)
    distance_mm = surface_hd95_mm(one, other, spacing_mm)
    return {"hd95_mm": penalty_mm if np.isinf(distance_mm) else distance_mm}


def _agreement(counts: _Counts, n_voxels: int) -> dict[str, float]:
    """Sensitivity and specificity by the official formulas, of masks or of label images taken for masks."""
    nothing = counts.sum_prediction == counts.sum_truth == 0
    n_neither = n_voxels - (counts.n_prediction + counts.n_truth - counts.n_common)
    n_false = counts.sum_prediction - counts.n_common
    return {
        "sensitivity": 1.0 if nothing else counts.n_common / (counts.sum_truth + sys.float_info.min),
        "specificity": n_neither / (n_neither + n_false + sys.float_info.min),
    }
