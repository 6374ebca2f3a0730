"""Dice and cross-entropy over overlapping regions, with deep supervision."""

import torch
import torch.nn.functional as F
from torch import Tensor

SMOOTH = 1.0  # voxels; makes an empty truth punish every predicted voxel instead of dividing by nothing


def dice_and_cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Soft Dice loss plus binary cross-entropy, each averaged over batch and regions.

    Args:
        logits: (B, R, I, J, K).
        truth: the same shape, 0 or 1; a region may be empty.
    """
    logits = logits.float()
    voxels = (2, 3, 4)
    probabilities = logits.sigmoid()
    shared = (probabilities * truth).sum(voxels)
    dice = (2 * shared + SMOOTH) / (probabilities.sum(voxels) + truth.sum(voxels) + SMOOTH)
    return 1 - dice.mean() + F.binary_cross_entropy_with_logits(logits, truth)


def deep_supervision(outputs: list[Tensor], truth: Tensor) -> Tensor:
    """The loss at every resolution, weighted 1, 1/2, 1/4 … and normalised; the lowest of several is left out.

    Args:
        outputs: logits, full resolution first.
        truth: (B, R, I, J, K) at full resolution; taken at the nearest voxel for the lower ones.

    Source: nnU-Net v2's DeepSupervisionWrapper and its weights.
    """
    used = outputs[:-1] or outputs
    weights = [0.5**i for i in range(len(used))]
    losses = [
        weight * dice_and_cross_entropy(logits, _strided(truth, logits))
        for weight, logits in zip(weights, used, strict=True)
    ]
    return torch.stack(losses).sum() / sum(weights)


def _strided(truth: Tensor, logits: Tensor) -> Tensor:
    stride = truth.shape[-1] // logits.shape[-1]
    return truth[..., ::stride, ::stride, ::stride]
