"""How far each member is from the fusion of all members, and where."""

from collections.abc import Mapping

import numpy as np

from htcnns.image.notes import Kind, Note
from htcnns.labels import Label, Region, RegionSet
from htcnns.volume import bounding_box

LEAST_DICE = 0.7  # of a member with the fusion, below which a person should look; our choice
SMALLEST_ML = 0.5  # the Dice of a smaller region says little
_N = len(Label)


def region_counts(label_map: np.ndarray, fused: np.ndarray, regions: RegionSet) -> np.ndarray:
    """(R, 3) voxel counts of each region: in both (i, j, k) uint8 label maps, in the first, in the second."""
    box = bounding_box((label_map | fused) != 0) or (slice(0, 0),) * 3
    codes = label_map[box] * np.uint8(_N) + fused[box]
    table = np.bincount(codes.ravel(), minlength=_N * _N).reshape(_N, _N)
    parts = [list(map(int, region.value)) for region in regions.regions]
    return np.array([(table[np.ix_(part, part)].sum(), table[part].sum(), table[:, part].sum()) for part in parts])


def dissenting_share(label_maps: list[np.ndarray], fused: np.ndarray) -> np.ndarray:
    """(i, j, k) float32: share of members whose label of a voxel differs from that of the fusion."""
    n_others = np.zeros(fused.shape, np.uint8)
    for label_map in label_maps:
        n_others += label_map != fused
    return n_others.astype(np.float32) / np.float32(len(label_maps))


def dissent_notes(dice: Mapping[str, Mapping[Region, float]], volumes_ml: Mapping[Region, float]) -> list[Note]:
    """A sentence on each region in which a member is far from the fusion.

    Args:
        dice: Dice of each member with the fusion, per region.
        volumes_ml: largest volume of each region, among the fusion and the members.
    """
    notes = []
    for region, volume_ml in volumes_ml.items():
        of_members = {name: by_region[region] for name, by_region in dice.items()}
        if volume_ml >= SMALLEST_ML and len(of_members) > 1 and min(of_members.values()) < LEAST_DICE:
            said = ", ".join(f"{name} {value:.2f}" for name, value in of_members.items())
            notes.append(
                Note(f"{region.name}: the members disagree; Dice with their fusion: {said}", Kind.MEMBERS_DISAGREE)
            )
    return notes
