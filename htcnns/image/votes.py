"""Counts what several members say about a volume: voxels with the same votes of all members are counted together.

Fusion needs nothing else, so the volume is read once for all regions.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from htcnns.labels import RegionSet, region_mask
from htcnns.volume import Box, bounding_box

CODE_BITS = 16  # for the votes of all members in one voxel; few, as a table has an entry for every code


@dataclass(frozen=True)
class Ballots:
    """The votes on one region.

    Attributes:
        votes: (n_members, n_ballots) bool, the distinct ballots that occur.
        n_voxels: (n_ballots,) float64, number of voxels of the whole volume with each ballot.
    """

    votes: np.ndarray
    n_voxels: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Poll:
    """The patterns of votes of all members on all regions.

    Attributes:
        codes: (I', J', K') unsigned, the pattern of each voxel inside the box.
        box: box outside which no member marks a region.
        shape: (I, J, K) of the whole volume.
        patterns: (n_patterns,) the codes that occur in the whole volume, ascending.
        n_voxels: (n_patterns,) number of voxels of the whole volume with each pattern.
        marks: (n_members, n_patterns, R) bool, which regions of the set each member marks in each pattern.
    """

    codes: np.ndarray
    box: Box
    shape: tuple[int, ...]
    patterns: np.ndarray
    n_voxels: np.ndarray
    marks: np.ndarray

    def ballots(self, region: int) -> tuple[Ballots, np.ndarray]:
        """The votes on a region, given by its index in the set, and (n_patterns,) index of each pattern's ballot."""
        members = np.arange(len(self.marks))[:, None]
        ballots, which = np.unique((self.marks[..., region] << members).sum(axis=0), return_inverse=True)
        return Ballots(ballots >> members & 1 == 1, np.bincount(which, self.n_voxels)), which

    def spread(self, values: np.ndarray) -> np.ndarray:
        """(I, J, K) array with the value of its pattern in each voxel, from (n_patterns,) values."""
        table = np.zeros(int(self.patterns[-1]) + 1, values.dtype)
        table[self.patterns] = values
        volume = np.full(self.shape, table[0])
        volume[self.box] = table.take(self.codes)
        return volume


def count_votes(label_maps: np.ndarray, regions: RegionSet) -> Poll:
    """The poll of (n_members, I, J, K) uint8 label maps, at most `max_members(regions)` of them."""
    n_members, *shape = label_maps.shape
    kinds, marks = _kinds(regions)
    n_bits = _n_bits(regions)
    box = bounding_box(np.bitwise_or.reduce(label_maps, axis=0) != 0) or (slice(0, 0), slice(0, 0), slice(0, 0))
    codes = np.zeros(label_maps[0][box].shape, np.min_scalar_type(2 ** (n_bits * n_members) - 1))
    for member, label_map in enumerate(label_maps):
        codes |= (kinds.astype(codes.dtype) << member * n_bits).take(label_map[box])
    counts = np.bincount(codes.ravel(), minlength=1)
    counts[0] += int(np.prod(shape)) - codes.size
    patterns = np.flatnonzero(counts)
    of_members = patterns >> np.arange(n_members)[:, None] * n_bits & 2**n_bits - 1
    return Poll(
        codes=codes,
        box=box,
        shape=tuple(shape),
        patterns=patterns,
        n_voxels=counts[patterns],
        marks=marks[of_members],
    )


def max_members(regions: RegionSet) -> int:
    """Largest number of members that can be counted: 8 for the three nested regions of a glioma, 5 for four regions."""
    return CODE_BITS // _n_bits(regions)


@cache
def _kinds(regions: RegionSet) -> tuple[np.ndarray, np.ndarray]:
    """(256,) uint8 kind of each label number, and (n_kinds, R) bool regions that each kind is in; kind 0 is in none."""
    every_number = np.arange(256, dtype=np.uint8)
    of_numbers = np.stack([region_mask(every_number, region) for region in regions.regions], axis=1)
    marks, kinds = np.unique(of_numbers, axis=0, return_inverse=True)  # ascending, so the kind in no region comes first
    kinds = kinds.reshape(-1).astype(np.uint8)
    for table in (kinds, marks):
        table.setflags(write=False)
    return kinds, marks


def _n_bits(regions: RegionSet) -> int:
    """Number of bits that one member's kind takes."""
    return (len(_kinds(regions)[1]) - 1).bit_length()
