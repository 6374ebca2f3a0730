"""Other contrasts: random curves that map a sequence's z-scores to new ones."""

from dataclasses import dataclass

import numpy as np

from htcnns.training.augment import Augmentation

KNOTS = np.array([-4.0, -1.0, -0.3, 0.3, 1.0, 2.5, 8.0])  # z-scores between which a contrast curve is a straight line
DARKEST = KNOTS[0]
GAMMA_LOW, GAMMA_SPAN = -3.0, 8.0  # lowest z-score and width of a range that covers nearly all of a brain
GAMMAS = (0.7, 1.4)


@dataclass(frozen=True, eq=False)
class Curve:
    """One sequence's new contrast, a curve that never falls.

    Attributes:
        heights: new z-score of each of KNOTS; None leaves this part out.
        scale, shift: linear change after that.
        gamma: exponent applied last, over the brain's range; None leaves it out.
    """

    heights: np.ndarray | None
    scale: float
    shift: float
    gamma: float | None

    def __call__(self, z_scores: np.ndarray) -> np.ndarray:
        """New z-scores, float32; meant for a table of 256 values, not for voxels."""
        bent = z_scores if self.heights is None else np.interp(z_scores, KNOTS, self.heights)
        varied = bent * self.scale + self.shift
        if self.gamma is not None:
            unit = np.clip((varied - GAMMA_LOW) / GAMMA_SPAN, 0, 1)
            varied = unit**self.gamma * GAMMA_SPAN + GAMMA_LOW
        return varied.astype(np.float32)


def draw_curves(n_sequences: int, variety: Augmentation, rng: np.random.Generator) -> tuple[Curve, ...]:
    """An independent curve for each sequence; which parts the curves have is drawn once for the patch.

    Another scanner's contrast is a rising, piecewise linear curve with random slopes, so that grey and white matter
    move apart or together. It is stronger than nnU-Net's gamma because a handful of cases shows few scanners. Scale
    and shift as in HT-CNNs and TransBTS; gamma as in nnU-Net, but milder.
    """
    is_other = rng.random() < variety.contrast_share
    is_bent = rng.random() < variety.gamma_share
    return tuple(
        Curve(
            heights=_heights(variety.slopes, rng) if is_other else None,
            scale=rng.uniform(1 - variety.scale, 1 + variety.scale),
            shift=rng.uniform(-variety.shift, variety.shift),
            gamma=rng.uniform(*GAMMAS) if is_bent else None,
        )
        for _ in range(n_sequences)
    )


def _heights(slopes: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """New z-scores of KNOTS with random slopes between them; the brain's mean (0) moves by up to 0.25."""
    rises = np.diff(KNOTS) * rng.uniform(*slopes, len(KNOTS) - 1)
    heights = np.concatenate([[0.0], np.cumsum(rises)])
    return heights + rng.uniform(-0.25, 0.25) - np.interp(0, KNOTS, heights)
