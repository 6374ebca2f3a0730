"""Key points of packed cases on disk: a small file beside each packed case, named after it."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from htcnns.files.atomic import write_whole
from htcnns.files.npz import read_arrays
from htcnns.labels import Region

ENDING = ".key-points.npz"
_KEY = "key"


def write_key_points(path: Path, points: Mapping[Region, np.ndarray], key: str) -> None:
    """Write the points, replacing older ones.

    Args:
        path: from `key_points_path`.
        points: (n, 3) int16 voxels of each region.
        key: text that identifies the case and the settings that the points were found with.

    Raises:
        OutputError: the file cannot be written.
    """
    content = io.BytesIO()
    arrays = {region.name: places for region, places in points.items()}
    np.savez_compressed(content, allow_pickle=False, **arrays, **{_KEY: np.frombuffer(key.encode(), np.uint8)})
    write_whole(path, content.getvalue())


def read_key_points(path: Path, key: str) -> dict[Region, np.ndarray] | None:
    """The points in a file; None where the file is missing, cannot be read, or has another key."""
    try:
        arrays = read_arrays(path, _KEY, *Region.__members__)
    except (OSError, ValueError):
        return None
    if arrays.pop(_KEY, np.zeros(0, np.uint8)).tobytes() != key.encode():
        return None
    return {Region[name]: places for name, places in arrays.items()}


def key_points_path(folder: Path, name: str) -> Path:
    """The file for the key points of the packed case with that name."""
    return folder / f"{name}{ENDING}"
