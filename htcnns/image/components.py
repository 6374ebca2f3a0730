"""The connected components of a mask, with their sizes."""

import cc3d
import numpy as np


def components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 26-connected components of an (I, J, K) bool mask and their sizes.

    Returns:
        (I, J, K) integers, components numbered from 1 and background 0; (1 + n_components,) voxel counts of the
        background and of each component.
    """
    component_map = cc3d.connected_components(mask, connectivity=26)
    return component_map, np.bincount(component_map.reshape(-1, order="A"))  # any order will do for counting
