"""Gzip with odd fields, cut or damaged costs only its own case: as a scan, and as the mask of an earlier run."""

import gzip

import numpy as np
import pytest
from arena import BAD, Arena
from gzips import hostile_gzip

from htcnns.labels import SEQUENCES

pytestmark = pytest.mark.slow


def test_a_hostile_scan_costs_only_its_case(arena: Arena, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = arena.scan(rng.choice(SEQUENCES))
    path.write_bytes(hostile_gzip(gzip.decompress(path.read_bytes()), rng))
    arena.survived(arena.run())


def test_a_hostile_mask_or_t1c_of_a_finished_case_costs_only_that(arena: Arena, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arena.survived(arena.run())
    path = rng.choice([arena.output / f"{BAD}.nii.gz", arena.scan("t1c")])
    path.write_bytes(hostile_gzip(gzip.decompress(path.read_bytes()), rng))
    arena.survived(arena.run())
