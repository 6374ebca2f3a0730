"""Dice and cross-entropy over overlapping regions that are known, with deep supervision."""

import torch
import torch.nn.functional as F
from torch import Tensor

SMOOTH = 1.0  # voxels; makes an empty truth punish every predicted voxel instead of dividing by nothing


def region_losses(logits: Tensor, truth: Tensor, inside: Tensor | None = None) -> Tensor:
    """Soft Dice loss plus binary cross-entropy of each patch and region, (B, R) float32.

    Args:
        logits: (B, R, I, J, K).
        truth: the same shape, 0 or 1; a region may be empty.
        inside: (B, 1, I, J, K) bool, voxels that count; None for all. A patch without any loses nothing.
    """
    logits, truth = logits.float(), truth.float()
    voxels = (2, 3, 4)
    probabilities = logits.sigmoid()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    if inside is None:
        mean_entropy = entropy.mean(voxels)
    else:
        counts = inside.float()
        probabilities, truth = probabilities * counts, truth * counts
        mean_entropy = (entropy * counts).sum(voxels) / counts.sum(voxels).clamp(min=1)
    shared = (probabilities * truth).sum(voxels)
    dice = (2 * shared + SMOOTH) / (probabilities.sum(voxels) + truth.sum(voxels) + SMOOTH)
    return 1 - dice + mean_entropy


def deep_supervision(
    outputs: list[Tensor], truth: Tensor, known: Tensor, *, inside: Tensor | None = None, n_known: float | None = None
) -> Tensor:
    """The loss at every resolution, weighted 1, 1/2, 1/4 … and normalised; the lowest of several is left out.

    Args:
        outputs: logits, full resolution first.
        truth: (B, R, I, J, K) at full resolution; taken at the nearest voxel for the lower ones.
        known: (B, R) bool, regions of each patch that the truth tells; the loss is the mean over them.
        inside: (B, 1, I, J, K) bool, voxels that count; None for all.
        n_known: number of known regions to divide by, where other processes have some too; None counts those here.

    Source: nnU-Net v2's DeepSupervisionWrapper and its weights.
    """
    used = outputs[:-1] or outputs
    weights = [0.5**i for i in range(len(used))]
    count = known.sum().item() if n_known is None else n_known
    losses = [
        weight * (_losses_at(logits, truth, inside) * known).sum() for weight, logits in zip(weights, used, strict=True)
    ]
    return torch.stack(losses).sum() / sum(weights) / max(count, 1)


def _losses_at(logits: Tensor, truth: Tensor, inside: Tensor | None) -> Tensor:
    """The losses of logits at a resolution that may be lower than that of the truth."""
    stride = truth.shape[-1] // logits.shape[-1]
    return region_losses(logits, _every(truth, stride), None if inside is None else _every(inside, stride))


def _every(array: Tensor, stride: int) -> Tensor:
    return array[..., ::stride, ::stride, ::stride]
