"""A held-out case cropped to where rules can change anything, and a fast, cached score of rules on it.

The score is that of the evaluation under RULES, without distances; a test compares the two.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from htcnns.files.held_out_maps import LARGEST, HeldOutMap
from htcnns.image.postprocess import PostprocessRules, postprocess
from htcnns.labels import Region, RegionSet, region_mask
from htcnns.scores.lesion_scheme import region_lesions
from htcnns.scores.lesions import Lesions, match, plain_lesions
from htcnns.scores.metrics import dice_of_counts
from htcnns.scores.rules import rule
from htcnns.scores.sparse import Voxels, framed
from htcnns.volume import Box, bounding_box, uncrop

RULES = "brats2023-gli"  # rule that defines the lesions
LOWEST = 0.3  # the lowest threshold that is tried
_FRAME = 5  # voxels around a crop, more than the dilation of lesions


@dataclass(frozen=True, kw_only=True, eq=False)
class TuneCase:
    """Probabilities and true lesions of a case, cropped around prediction and truth.

    Attributes:
        fold: fold that holds the case out.
        probabilities: (R, i, j, k) float32 of one member, or (M, R, i, j, k) of all.
        lesions: lesions of the truth, by region.
        by_rules, by_mask: cached scores, by rules and by region and mask; filled as rules are tried.
    """

    fold: int
    probabilities: np.ndarray
    lesions: Mapping[Region, Lesions]
    by_rules: dict[str, float] = field(default_factory=dict)
    by_mask: dict[tuple[Region, bytes], float] = field(default_factory=dict)

    def score(self, rules: PostprocessRules, regions: RegionSet) -> float:
        """Mean over the regions of whole-mask and lesion-wise Dice under the rules; cached."""
        key = repr(rules)
        if key not in self.by_rules:
            label_map, _ = postprocess(self.probabilities, regions, rules)
            self.by_rules[key] = self.score_label_map(label_map)
        return self.by_rules[key]

    def score_label_map(self, label_map: np.ndarray) -> float:
        """The same score for a label map of the crop."""
        box = bounding_box(label_map > 0) or (slice(0, 1),) * 3
        inner = np.ascontiguousarray(label_map[box])
        return float(np.mean([self._region_score(inner, box, region) for region in self.lesions]))

    def _region_score(self, label_map: np.ndarray, box: Box, region: Region) -> float:
        mask = region_mask(label_map, region)
        key = (region, hashlib.sha256(f"{box}".encode() + np.packbits(mask).tobytes()).digest())
        if key not in self.by_mask:
            truth = self.lesions[region]
            self.by_mask[key] = _mean_dice(_lesions_in(mask, box, truth.voxels.shape), truth, region)
        return self.by_mask[key]


def tune_case(content: HeldOutMap, member: int | slice, regions: RegionSet) -> TuneCase:
    """One or all members' probabilities, cropped around the truth and the voxels that reach the lowest threshold."""
    truth = regions.compose(region_mask(content.label_map, region) for region in regions.regions)
    numbers = uncrop(content.numbers[member], content.box, content.shape)
    highest = numbers.reshape(-1, *content.shape).max(axis=0)
    box = _around((highest >= LOWEST * LARGEST) | (truth != 0))
    row = rule(RULES)
    voxels = Voxels.of(framed(np.ascontiguousarray(truth[box]), _FRAME))
    i, j, k = (slice(_FRAME, _FRAME + edge.stop - edge.start) for edge in box)
    lesions = region_lesions(voxels, row.regions, inside=(i, j, k))
    return TuneCase(
        fold=content.card.fold,
        probabilities=numbers[(..., *box)].astype(np.float32) / LARGEST,
        lesions={Region[name]: lesions[name] for name in row.region_names},
    )


def _around(mask: np.ndarray) -> Box:
    """A mask's box, wide enough to dilate lesions as in the whole case; a small corner box for an empty mask."""
    box = bounding_box(mask) or (slice(0, 1),) * 3
    i, j, k = (
        slice(max(0, edge.start - _FRAME), min(n, edge.stop + _FRAME)) for edge, n in zip(box, mask.shape, strict=True)
    )
    return i, j, k


def _lesions_in(mask: np.ndarray, box: Box, shape: tuple[int, ...]) -> Lesions:
    """The lesions of a mask in a box of the crop, at their positions in the framed crop of that shape."""
    found = plain_lesions(Voxels.of(mask))
    corner = [edge.start + _FRAME for edge in box]
    places = [
        axis + start for axis, start in zip(np.unravel_index(found.voxels.index, mask.shape), corner, strict=True)
    ]
    return replace(found, voxels=Voxels(np.ravel_multi_index(places, shape), found.voxels.numbers, shape))


def _mean_dice(prediction: Lesions, truth: Lesions, region: Region) -> float:
    """Mean of whole-mask and lesion-wise Dice of one region, as the evaluation computes them under RULES."""
    row = rule(RULES)
    ignored = next(each.ignored for each in row.regions if each.name == region.name)
    matches = match(prediction, truth)
    counted = np.flatnonzero(matches.n_voxels_truth > ignored).tolist()
    n_all = len(counted) + matches.n_false_positives
    lesions = sum(matches.dice(lesion) for lesion in counted) / n_all if n_all else 1.0
    n_common, n_predicted, n_true = (
        int(counts.sum()) for counts in (matches.n_common, matches.n_voxels_prediction, matches.n_voxels_truth)
    )
    return (lesions + dice_of_counts(n_common, n_predicted, n_true)) / 2
