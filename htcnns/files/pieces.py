"""Small image cubes with truth, many in one npz file, on a grid that need not be 1 mm."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from htcnns.errors import InputError
from htcnns.files.npz import read_arrays
from htcnns.labels import SEQUENCES
from htcnns.volume import Spacing, size_text

_KEYS = ("names", "images", "label_maps", "valid", "spacing_mm", "low", "step")


@dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """One cube.

    Attributes:
        name: name of the cube, which begins with the name of the patient's case.
        z_scores: (4, i, j, k) float32 in the order of SEQUENCES, z-scored over the brain that the cube is cut from; 0
            outside the brain.
        label_map: (i, j, k) uint8 truth in the file's numbers.
        inside: (i, j, k) bool where both z-scores and truth are known.
        spacing_mm: voxel size along I, J, K, which run to the left, posterior and superior.
    """

    name: str
    z_scores: np.ndarray
    label_map: np.ndarray
    inside: np.ndarray
    spacing_mm: Spacing


def read_pieces(path: Path) -> Iterator[Piece]:
    """The cubes of a file.

    Its arrays are `images` (n, 4, i, j, k) uint8, where q stands for the z-score low + step * q, `label_maps` and
    `valid` (n, i, j, k), `names`, `spacing_mm`, `low` and `step`.

    Raises:
        InputError: the file cannot be read, lacks an array, or has arrays whose shapes do not match.
    """
    try:
        arrays = read_arrays(path, *_KEYS)
        names, images, label_maps, valid, spacing, low, step = (arrays[key] for key in _KEYS)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"is not a file of cubes ({error})",
            place=path,
            expected=f"npz with {', '.join(_KEYS)}",
            remedy="Make it again.",
        ) from error
    wanted = (len(names), len(SEQUENCES), *label_maps.shape[1:])
    if images.shape != wanted or valid.shape != label_maps.shape or len(label_maps) != len(names):
        raise InputError(
            "holds arrays whose shapes do not match",
            place=path,
            found=f"images of {size_text(images.shape)}, label_maps of {size_text(label_maps.shape)}, "
            f"valid of {size_text(valid.shape)}, {len(names)} names",
            expected=f"images of {size_text(wanted)}, label_maps and valid of the same cubes",
            remedy="Make it again.",
        )
    i, j, k = (float(mm) for mm in spacing)
    for name, image, label_map, inside in zip(names, images, label_maps, valid, strict=True):
        z_scores = (float(low) + float(step) * image.astype(np.float32)) * inside
        yield Piece(
            name=str(name),
            z_scores=z_scores.astype(np.float32),
            label_map=label_map.astype(np.uint8) * inside,
            inside=inside.astype(bool),
            spacing_mm=(i, j, k),
        )
