"""What several members say of a volume, counted: voxels in which all say the same are counted together.

Fusing needs nothing else, so the volume is read once for all regions.
"""

from dataclasses import dataclass

import numpy as np

from htcnns.volume import Box, bounding_box


@dataclass(frozen=True)
class Ballots:
    """The votes on one region.

    Attributes:
        votes: (n_members, n_ballots) bool, the different ballots that occur.
        n_voxels: (n_ballots,) float64, in how many voxels of the whole volume each does.
    """

    votes: np.ndarray
    n_voxels: np.ndarray


@dataclass(frozen=True)
class Poll:
    """The patterns of what all members say. A member's depth in a voxel is how many nested regions it marks there.

    Attributes:
        codes: (I', J', K') unsigned, the pattern of each voxel inside the box.
        box: outside it every depth of every member is 0.
        shape: (I, J, K) of the whole volume.
        patterns: (n_patterns,) the codes that occur in the whole volume, ascending.
        n_voxels: (n_patterns,) how many voxels of the whole volume have each.
        depths: (n_members, n_patterns) uint8.
    """

    codes: np.ndarray
    box: Box
    shape: tuple[int, ...]
    patterns: np.ndarray
    n_voxels: np.ndarray
    depths: np.ndarray

    def ballots(self, depth: int) -> tuple[Ballots, np.ndarray]:
        """The votes on the region of that depth, 1 for the outermost, and (n_patterns,) which ballot each casts."""
        members = np.arange(len(self.depths))[:, None]
        ballots, which = np.unique(((self.depths >= depth) << members).sum(axis=0), return_inverse=True)
        return Ballots(ballots >> members & 1 == 1, np.bincount(which, self.n_voxels)), which

    def spread(self, values: np.ndarray) -> np.ndarray:
        """(I, J, K), in each voxel the one of (n_patterns,) values that is its pattern's."""
        table = np.zeros(int(self.patterns[-1]) + 1, values.dtype)
        table[self.patterns] = values
        volume = np.full(self.shape, table[0])
        volume[self.box] = table.take(self.codes)
        return volume


def count_votes(arrays: np.ndarray, depth_of: np.ndarray, *, n_bits: int) -> Poll:
    """The poll of (n_members, I, J, K) bool or uint8 arrays.

    Args:
        arrays: of members; n_members * n_bits is at most 16, as every code has its place in a table.
        depth_of: (n_values,) uint8, the depth that each value of the arrays stands for; value 0 has depth 0.
        n_bits: what the largest depth takes.
    """
    n_members, *shape = arrays.shape
    box = bounding_box(np.bitwise_or.reduce(arrays, axis=0) != 0) or (slice(0, 0), slice(0, 0), slice(0, 0))
    codes = np.zeros(arrays[0][box].shape, np.min_scalar_type(2 ** (n_bits * n_members) - 1))
    for member, array in enumerate(arrays):
        codes |= (depth_of.astype(codes.dtype) << member * n_bits).take(array[box])
    counts = np.bincount(codes.ravel(), minlength=1)
    counts[0] += int(np.prod(shape)) - codes.size
    patterns = np.flatnonzero(counts)
    of_members = patterns >> np.arange(n_members)[:, None] * n_bits & 2**n_bits - 1
    return Poll(codes, box, tuple(shape), patterns, counts[patterns], of_members.astype(np.uint8))
