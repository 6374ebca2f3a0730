"""Cases as points: numbers that describe how each looks, a few principal components of these, a map in two dimensions.

scikit-learn is optional; only this module imports it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from htcnns.errors import SettingsError
from htcnns.volume import Shape

COARSE: Shape = (16, 20, 16)  # grid on which brains are compared place by place, about 9 mm
N_QUANTILES = 32  # of each sequence's z-scores; they do not depend on where anything lies
SEED = 42  # of the map, as published
PERPLEXITY = 30.0  # scikit-learn's default; at most (n - 1) / 3 for n cases
MOST_COMPONENTS = 20
CASES_A_COMPONENT = 4


def require_scikit_learn() -> None:
    """Raise SettingsError where scikit-learn is not installed, before anything is computed for it."""
    _pca_and_tsne()


def appearance(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features that describe how a case looks: its brain on a coarse grid, and quantiles of each sequence.

    Args:
        array: (C, i, j, k) float32 z-scores of the brain's box; 0 outside the brain.

    Returns:
        Two float32 vectors. A missing sequence is 0 in both.
    """
    parts = np.linspace(0, 1, N_QUANTILES + 2)[1:-1]
    inside = [sequence[sequence != 0] for sequence in array]
    quantiles = [np.quantile(values, parts) if values.size else np.zeros(N_QUANTILES) for values in inside]
    coarse = F.adaptive_avg_pool3d(torch.from_numpy(np.ascontiguousarray(array)), COARSE)
    return coarse.numpy().ravel(), np.concatenate(quantiles).astype(np.float32)


def balanced(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """(n, sum of d) float64: blocks of (n, d) features side by side, each with mean 0 and the same total variance."""
    centred = [block - block.mean(axis=0) for block in map(np.float64, blocks)]
    totals = [np.sqrt(block.var(axis=0).sum()) or 1.0 for block in centred]
    return np.concatenate([block / total for block, total in zip(centred, totals, strict=True)], axis=1)


def principal_components(features: np.ndarray) -> np.ndarray:
    """(n, m) float64 principal components of (n, d) features: m is n / 4, but at least 2 and at most MOST_COMPONENTS.

    With as many components as cases, noise would count as much as what cases have in common.

    Raises:
        SettingsError: scikit-learn is not installed.
    """
    wanted = max(2, min(len(features) // CASES_A_COMPONENT, MOST_COMPONENTS))
    n_components = min(wanted, *features.shape)
    pca, _ = _pca_and_tsne()
    return pca(n_components=n_components, random_state=SEED).fit_transform(features)


def two_dimensions(components: np.ndarray) -> np.ndarray:
    """(n, 2) float64 places on a map by t-SNE; similar cases lie close together, large distances mean nothing.

    Raises:
        SettingsError: scikit-learn is not installed.
    """
    perplexity = min(PERPLEXITY, (len(components) - 1) / 3)
    _, tsne = _pca_and_tsne()
    places = tsne(n_components=2, random_state=SEED, perplexity=perplexity).fit_transform(components)
    return places.astype(np.float64)


def _pca_and_tsne() -> tuple[Any, Any]:
    """scikit-learn's classes PCA and TSNE."""
    try:
        from sklearn.decomposition import PCA  # optional, and slow
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise SettingsError(
            "scikit-learn is not installed",
            place="map of cohorts",
            remedy='Install it: pip install "htcnns[cohorts]".',
        ) from error
    return PCA, TSNE
