"""Dice and cross-entropy over overlapping regions that are known, or over exclusive labels, with deep supervision.

For regions there are two more: generalised Dice, and boundary shape correction at their key points.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from htcnns.networks.contract import Head

SMOOTH = 1.0  # voxels; makes an empty truth punish every predicted voxel instead of dividing by nothing


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """What counts how much.

    Attributes:
        dice: of the Dice loss of each region or label alone.
        generalised_dice: of that of all regions of a patch together, in which small ones count more.
        entropy: of the cross-entropy. Few steps teach Dice alone to mark too much: a voxel that is marked wrongly costs
            it less the more are marked.
        key_points: of the loss at the key points of each region.
        empty_share: of a patch's voxels; where the truth of a region is empty, that many predicted ones cost half of
            the Dice loss. With 0 the first one does, and all further ones cost next to nothing.
        head: what the channels are, which the loss depends on.
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
        inside: (B, 1, I, J, K) bool, voxels that count; None for all. A patch without any loses nothing.
        weights: of the parts.
    """
    logits, truth = logits.float(), truth.float()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return _dice_and_entropy(logits.sigmoid(), entropy, truth, inside, weights)


def label_losses(
    logits: Tensor, truth: Tensor, inside: Tensor | None = None, *, weights: LossWeights = PLAIN
) -> Tensor:
    """Soft Dice loss plus its share of the cross-entropy of each patch and label, (B, C) float32.

    The mean over the labels, of which the background is one, is their mean Dice loss plus the cross-entropy.

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
    """(B, C) soft Dice loss plus mean entropy, all of them (B, C, I, J, K) float32 but `inside`."""
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
    """1 minus the soft Dice of a patch's known regions together, each over the square of its size, (B, 1) float32.

    The smallest region that is there weighs 1, and so do those that are empty.

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
    """How much of what lies near the key points of each region is not marked, (B, R) float32; 0 where there are none.

    Args:
        probabilities: (B, R, I, J, K) float32.
        keys: the same shape, bool: balls around key points, cut by their region. Whole balls, as in the published code,
            reach beyond the boundary, and a network that marks them marks too much.
        inside: as for `region_losses`.

    Source: boundary shape correction, Zhu 2024; its published loss cannot run.
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
    """The loss at every resolution, weighted 1, 1/2, 1/4 … and normalised; the lowest of several is left out.

    Args:
        outputs: logits, full resolution first.
        truth: (B, R, I, J, K) regions or labels at full resolution; taken at the nearest voxel for the lower ones.
        known: (B, R) bool, those of each patch that the truth tells; the loss is the mean over them.
        inside: (B, 1, I, J, K) bool, voxels that count; None for all.
        keys: (B, R, I, J, K) bool, what of each region lies near its key points; None without such points.
        n_known: number of known ones to divide by, where other processes have some too; None counts those here.
        weights: of the parts of the loss.

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
    """What logits are compared with, as in `deep_supervision`."""

    truth: Tensor
    known: Tensor
    inside: Tensor | None
    keys: Tensor | None

    def every(self, stride: int) -> "_Told":
        """The nearest voxels of a grid that is so many times coarser."""
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
