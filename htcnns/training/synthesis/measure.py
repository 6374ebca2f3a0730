"""Brightness of healthy tissues and tumour parts, measured on images with truth and kept as plain numbers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from htcnns.labels import SEQUENCES, Label
from htcnns.labels import Sequence as Weighting

HEALTHY = ("white", "grey", "fluid")
COMPARTMENTS = {"edema": Label.ED, "enhancing": Label.ET, "core": Label.NCR}
LEAST_VOXELS = 60  # of a compartment; smaller ones are not measured
FAR = 6  # voxels from the tumour, beyond which tissue counts as healthy
DEEP = 3  # voxels left out at the brain's border, where stripping may leave other tissue
FLUID_SHARE = 0.07  # fraction of a brain that is taken for fluid at first
N_ROUNDS = 15
T1N, T2W, T2F = (SEQUENCES.index(each) for each in (Weighting.T1N, Weighting.T2W, Weighting.T2F))


@dataclass(frozen=True)
class Spread:
    """How some numbers vary from patient to patient.

    Attributes:
        names: meaning of each number, such as "edema t2f".
        means, deviations: (n,) over patients.
        correlations: (n, n), each over the patients in which both numbers are known.
    """

    names: tuple[str, ...]
    means: np.ndarray
    deviations: np.ndarray
    correlations: np.ndarray

    def draw(self, rng: np.random.Generator, *, wider: float) -> np.ndarray:
        """One patient's numbers, (n,) float64, normally distributed with deviations `wider` times those measured."""
        values, vectors = np.linalg.eigh(self.correlations)
        values = np.clip(values, 0, None)  # correlations over different patients need not form a valid matrix
        unit = vectors @ (np.sqrt(values) * rng.standard_normal(len(values)))
        return self.means + wider * self.deviations * unit


def spread_of(names: Sequence[str], rows: Iterable[np.ndarray]) -> Spread:
    """The spread over patients, each a row (n,) in which NaN means unknown."""
    table = np.ma.masked_invalid(np.array(list(rows), np.float64))
    correlations = np.array([[_correlation(a, b) for b in table.T] for a in table.T])
    return Spread(tuple(names), table.mean(axis=0).filled(0), table.std(axis=0).filled(0), correlations)


def _correlation(one: np.ma.MaskedArray, other: np.ma.MaskedArray) -> float:
    """Correlation over the patients in which both numbers are known; 0 if these are fewer than two or all alike."""
    both = ~(np.ma.getmaskarray(one) | np.ma.getmaskarray(other))
    pair = np.stack([one[both].filled(), other[both].filled()])
    if both.sum() < 2 or (pair.std(axis=1) == 0).any():
        return 0.0
    return float(np.corrcoef(pair)[0, 1])


def names_of(parts: Iterable[str]) -> tuple[str, ...]:
    """The names of every part in every sequence, in the order of the measured levels."""
    return tuple(f"{part} {sequence}" for part in parts for sequence in SEQUENCES)


def healthy_levels(array: np.ndarray, label_map: np.ndarray) -> np.ndarray:
    """Median z-score of white matter, grey matter and fluid far from the tumour.

    The three are separated by k-means over the four sequences, with medians as centres. It starts from fluid (bright in
    t2w, dark in t2f) and, in the rest, from white matter (bright in t1n, dark in t2w) and grey matter. This holds for
    adult brains, in which myelin is complete.

    Args:
        array: (4, I, J, K) float32 z-scores, 0 outside the brain.
        label_map: (I, J, K) truth.

    Returns:
        (12,) in the order of `names_of(HEALTHY)`.
    """
    brain = (array != 0).all(axis=0)
    inside = ndimage.binary_erosion(brain, iterations=DEEP)
    voxels = array[:, inside & ~ndimage.binary_dilation(label_map > 0, iterations=FAR)].T[::11].astype(np.float64)
    fluidity = voxels[:, T2W] - voxels[:, T2F] - 0.5 * voxels[:, T1N]
    is_fluid = fluidity > np.quantile(fluidity, 1 - FLUID_SHARE)
    whiteness = voxels[:, T1N] - 0.7 * voxels[:, T2W] - 0.5 * voxels[:, T2F]
    low, high = np.quantile(whiteness[~is_fluid], (0.4, 0.6))
    starts = (~is_fluid & (whiteness > high), ~is_fluid & (whiteness < low), is_fluid)
    centres = np.stack([voxels[start].mean(axis=0) for start in starts])
    for _ in range(N_ROUNDS):
        nearest = ((voxels[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        centres = np.stack([np.median(voxels[nearest == number], axis=0) for number in range(len(centres))])
    return centres.ravel()


def tumour_levels(array: np.ndarray, label_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and standard deviation of the z-scores in each part of the tumour.

    Args:
        array: (4, I, J, K) float32 z-scores.
        label_map: (I, J, K) uint8 of Label values.

    Returns:
        Two (12,) arrays in the order of `names_of(COMPARTMENTS)`; NaN where a part has fewer than LEAST_VOXELS.
    """
    levels, textures = np.full((2, len(COMPARTMENTS), len(SEQUENCES)), np.nan)
    for level, texture, label in zip(levels, textures, COMPARTMENTS.values(), strict=True):
        mask = label_map == label
        if mask.sum() >= LEAST_VOXELS:
            level[:] = np.median(array[:, mask], axis=1)
            texture[:] = array[:, mask].std(axis=1)
    return levels.ravel(), textures.ravel()


def as_source(spread: Spread, name: str) -> str:
    """The spread as Python source for `measured.py`, with two decimals."""

    def row(numbers: np.ndarray) -> str:
        return f"({', '.join(f'{number:.2f}' for number in numbers)}),"

    lines = [f"{name} = Spread(", f"    {spread.names!r},"]
    lines += [f"    np.array({row(numbers)[:-1]})," for numbers in (spread.means, spread.deviations)]
    lines += [
        "    np.array(",
        "        (",
        *(f"            {row(each)}" for each in spread.correlations),
        "        )",
        "    ),",
    ]
    return "\n".join([*lines, ")"])
