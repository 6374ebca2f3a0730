"""Dice and cross-entropy over known regions that may overlap, or over exclusive labels, with deep supervision.

Regions have two more losses: generalised Dice, and boundary shape correction at their key points.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from htcnns.networks.contract import Head

SMOOTH = 1.0  # voxels; an empty truth then penalises every predicted voxel instead of dividing by zero


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the parts of the loss.

    Attributes:
        dice: weight of the Dice loss of each region or label alone.
        generalised_dice: weight of the Dice loss of all regions of a patch together, in which small ones count more.
        entropy: weight of the cross-entropy. With Dice alone, a short fit learns to mark too much: a wrongly marked
            voxel costs less the more voxels are marked.
        key_points: weight of the loss at the key points of each region.
        empty_share: fraction of a patch's voxels that, predicted for a region with empty truth, costs half of the Dice
            loss. At 0 the first voxel costs that much, and all further ones next to nothing.
        head: meaning of the channels, which decides the kind of loss.
    """

    dice: float = 1.0
    generalised_dice: float = 0.0
    entropy: float = 1.0
    key_points: float = 0.0
    empty_share: float = 0.0
    head: Head = Head.SIGMOID


PLAIN = LossWeights()


def region_losses(
    logits: Tensor, truth: Tensor, inside: Tensor | None = None, *, weights: LossWeights = PLAIN
) -> Tensor:
    """Soft Dice loss plus binary cross-entropy of each patch and region, (B, R) float32.

    Args:
        logits: (B, R, I, J, K).
        truth: the same shape, 0 or 1; a region may be empty.
        inside: (B, 1, I, J, K) bool, voxels that count; None for all. A patch without any has a loss of 0.
        weights: weights of the parts.
    """
    logits, truth = logits.float(), truth.float()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return _dice_and_entropy(logits.sigmoid(), entropy, truth, inside, weights)


def label_losses(
    logits: Tensor, truth: Tensor, inside: Tensor | None = None, *, weights: LossWeights = PLAIN
) -> Tensor:
    """Soft Dice loss of each patch and label plus the label's share of the cross-entropy, (B, C) float32.

    The mean over the labels, background included, is their mean Dice loss plus the cross-entropy.

    Args:
        logits: (B, C, I, J, K).
        truth: the same shape, 0 or 1, one label in each voxel.
        inside, weights: as for `region_losses`.
    """
    shares, truth = logits.float().log_softmax(dim=1), truth.float()
    return _dice_and_entropy(shares.exp(), -truth.shape[1] * truth * shares, truth, inside, weights)


_LOSSES: Mapping[Head, Callable[..., Tensor]] = MappingProxyType(
    {Head.SIGMOID: region_losses, Head.SOFTMAX: label_losses}
)


def _dice_and_entropy(
    probabilities: Tensor, entropy: Tensor, truth: Tensor, inside: Tensor | None, weights: LossWeights
) -> Tensor:
    """(B, C) weighted soft Dice loss plus mean entropy; all arrays but `inside` are (B, C, I, J, K) float32."""
    voxels = (2, 3, 4)
    if inside is None:
        n_voxels = torch.tensor(float(truth[0, 0].numel()), device=truth.device)
        mean_entropy = entropy.mean(voxels)
    else:
        counts = inside.float()
        n_voxels = counts.sum(voxels).clamp(min=1)
        probabilities, truth = probabilities * counts, truth * counts
        mean_entropy = (entropy * counts).sum(voxels) / n_voxels
    shared, wanted = (probabilities * truth).sum(voxels), truth.sum(voxels)
    smooth = torch.where(wanted > 0, SMOOTH, (weights.empty_share * n_voxels).clamp(min=SMOOTH))
    dice = (2 * shared + smooth) / (probabilities.sum(voxels) + wanted + smooth)
    return weights.dice * (1 - dice) + weights.entropy * mean_entropy


def generalised_dice_losses(
    probabilities: Tensor, truth: Tensor, known: Tensor, inside: Tensor | None = None
) -> Tensor:
    """1 minus the soft Dice of a patch's known regions together, each weighted by 1 / size², (B, 1) float32.

    Weights are scaled so that the smallest region that is not empty has weight 1; empty regions have weight 1 too.

    Args:
        probabilities: (B, R, I, J, K) float32.
        truth: the same shape, 0 or 1.
        known: (B, R) bool; the other regions do not count.
        inside: as for `region_losses`.

    Source: Sudre 2017, arXiv 1707.03237; empty regions as in NiftyNet and MONAI.
    """
    voxels, counts = (2, 3, 4), truth.float() if inside is None else truth.float() * inside
    marked = probabilities if inside is None else probabilities * inside
    wanted = counts.sum(voxels)
    is_there = known & (wanted > 0)
    smallest = torch.where(is_there, wanted, torch.inf).amin(1, keepdim=True)
    shares = known * torch.where(is_there, (smallest / wanted) ** 2, 1.0)
    shared = (shares * (marked * counts).sum(voxels)).sum(1, keepdim=True)
    total = (shares * (marked.sum(voxels) + wanted)).sum(1, keepdim=True)
    return 1 - (2 * shared + SMOOTH) / (total + SMOOTH)


def key_point_losses(probabilities: Tensor, keys: Tensor, inside: Tensor | None = None) -> Tensor:
    """Fraction of each region near its key points that is not marked, (B, R) float32; 0 without key points.

    Args:
        probabilities: (B, R, I, J, K) float32.
        keys: the same shape, bool: intersection of each region with the balls around its key points. Whole balls, as in
            the published code, reach beyond the boundary and teach a network to mark too much.
        inside: as for `region_losses`.

    Source: boundary shape correction, Zhu 2024; the published code of this loss does not run.
    """
    near = keys if inside is None else keys & inside
    n_near = near.sum((2, 3, 4))
    missed = 1 - (probabilities * near).sum((2, 3, 4)) / n_near.clamp(min=1)
    return torch.where(n_near > 0, missed, 0.0)


def deep_supervision(
    outputs: list[Tensor],
    truth: Tensor,
    known: Tensor,
    *,
    inside: Tensor | None = None,
    keys: Tensor | None = None,
    n_known: float | None = None,
    weights: LossWeights = PLAIN,
) -> Tensor:
    """The mean loss over all resolutions, weighted 1, 1/2, 1/4 …; the lowest of several resolutions is left out.

    Args:
        outputs: logits, full resolution first.
        truth: (B, R, I, J, K) regions or labels at full resolution; subsampled without interpolation for lower ones.
        known: (B, R) bool, channels that the truth of each patch annotates; the loss is the mean over them.
        inside: (B, 1, I, J, K) bool, voxels that count; None for all.
        keys: (B, R, I, J, K) bool, part of each region near its key points; None without key points.
        n_known: number of known channels to divide by, if other processes have some too; None counts those here.
        weights: weights of the parts of the loss.

    Source: nnU-Net v2's DeepSupervisionWrapper and its weights.
    """
    used = outputs[:-1] or outputs
    shares = [0.5**i for i in range(len(used))]
    count = known.sum().item() if n_known is None else n_known
    told = _Told(truth, known, inside, keys)
    losses = [
        share * (_losses_at(logits, told, weights) * known).sum() for share, logits in zip(shares, used, strict=True)
    ]
    return torch.stack(losses).sum() / sum(shares) / max(count, 1)


class _Told(NamedTuple):
    """The arguments of `deep_supervision` that logits are compared with."""

    truth: Tensor
    known: Tensor
    inside: Tensor | None
    keys: Tensor | None

    def every(self, stride: int) -> "_Told":
        """The same on a grid coarser by that factor: every `stride`-th voxel."""
        inside, keys = (None if array is None else _every(array, stride) for array in (self.inside, self.keys))
        return _Told(_every(self.truth, stride), self.known, inside, keys)


def _losses_at(logits: Tensor, told: _Told, weights: LossWeights) -> Tensor:
    """(B, R) losses of logits at a resolution that may be lower than that of the truth."""
    truth, known, inside, keys = told.every(told.truth.shape[-1] // logits.shape[-1])
    losses = _LOSSES[weights.head](logits, truth, inside, weights=weights)
    if weights.generalised_dice:
        together = generalised_dice_losses(logits.float().sigmoid(), truth, known, inside)
        losses = losses + weights.generalised_dice * together
    if weights.key_points and keys is not None:
        losses = losses + weights.key_points * key_point_losses(logits.float().sigmoid(), keys, inside)
    return losses


def _every(array: Tensor, stride: int) -> Tensor:
    return array[..., ::stride, ::stride, ::stride]
