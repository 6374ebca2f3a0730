"""Dice and cross-entropy over overlapping regions that are known, or over exclusive labels, with deep supervision."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import Tensor

from htcnns.networks.contract import Head

SMOOTH = 1.0  # voxels; makes an empty truth punish every predicted voxel instead of dividing by nothing


@dataclass(frozen=True)
class LossWeights:
    """What counts how much.

    Attributes:
        entropy: of the cross-entropy, beside 1 for the Dice loss. Few steps teach Dice alone to mark too much: a voxel
            that is marked wrongly costs it less the more are marked.
        empty_share: of a patch's voxels; where the truth of a region is empty, that many predicted ones cost half of
            the Dice loss. With 0 the first one does, and all further ones cost next to nothing.
        head: what the channels are, which the loss depends on.
    """

    entropy: float = 1.0
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
    return 1 - dice + weights.entropy * mean_entropy


def deep_supervision(
    outputs: list[Tensor],
    truth: Tensor,
    known: Tensor,
    *,
    inside: Tensor | None = None,
    n_known: float | None = None,
    weights: LossWeights = PLAIN,
) -> Tensor:
    """The loss at every resolution, weighted 1, 1/2, 1/4 … and normalised; the lowest of several is left out.

    Args:
        outputs: logits, full resolution first.
        truth: (B, R, I, J, K) regions or labels at full resolution; taken at the nearest voxel for the lower ones.
        known: (B, R) bool, those of each patch that the truth tells; the loss is the mean over them.
        inside: (B, 1, I, J, K) bool, voxels that count; None for all.
        n_known: number of known ones to divide by, where other processes have some too; None counts those here.
        weights: of the parts of the loss.

    Source: nnU-Net v2's DeepSupervisionWrapper and its weights.
    """
    used = outputs[:-1] or outputs
    shares = [0.5**i for i in range(len(used))]
    count = known.sum().item() if n_known is None else n_known
    losses = [
        share * (_losses_at(logits, truth, inside, weights) * known).sum()
        for share, logits in zip(shares, used, strict=True)
    ]
    return torch.stack(losses).sum() / sum(shares) / max(count, 1)


def _losses_at(logits: Tensor, truth: Tensor, inside: Tensor | None, weights: LossWeights) -> Tensor:
    """The losses of logits at a resolution that may be lower than that of the truth."""
    stride = truth.shape[-1] // logits.shape[-1]
    there = None if inside is None else _every(inside, stride)
    return _LOSSES[weights.head](logits, _every(truth, stride), there, weights=weights)


def _every(array: Tensor, stride: int) -> Tensor:
    return array[..., ::stride, ::stride, ::stride]
