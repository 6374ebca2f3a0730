"""Inference of members on packed cases, window by window, as in the main job."""

import numpy as np

from htcnns.files.prepared_cases import PreparedCase
from htcnns.image.preprocess import Prepared, PreprocessSettings, Undo, pad
from htcnns.runs.ensemble import Ensemble, Stopwatch, member_probabilities
from htcnns.runs.settings import RunSettings


def packed_probabilities(ensemble: Ensemble, case: PreparedCase, settings: RunSettings) -> np.ndarray:
    """(M, R, I, J, K) float32 probabilities from each member for a packed case, on the grid of its arrays.

    Raises:
        DeviceError: as `member_probabilities`.
    """
    prepared = as_networks_see(case, ensemble.preprocess_settings)
    found = [
        member_probabilities(
            ensemble, member, prepared, settings=settings, on_window=lambda: None, stopwatch=Stopwatch()
        )
        for member in ensemble.members
    ]
    return np.stack([prepared.undo(each) for each in found])


def as_networks_see(case: PreparedCase, settings: PreprocessSettings) -> Prepared:
    """A packed case as z-scores, padded as in `preprocess`; its `undo` leads back to the grid of the packed arrays."""
    z_scores = np.stack([row[numbers] for row, numbers in zip(case.table, case.array, strict=True)])
    shape = case.card.shape
    padded, inner = pad(z_scores, settings.least)
    i, j, k = (slice(0, n) for n in shape)
    undo = Undo(
        shape=shape,
        order=(0, 1, 2),
        flips=(False, False, False),
        turned_shape=shape,
        grid_shape=shape,
        box=(i, j, k),
        inner=inner,
    )
    brain = pad(np.any(case.array, axis=0, keepdims=True), settings.least)[0][0]
    return Prepared(array=padded, brain=brain, undo=undo, notes=())
