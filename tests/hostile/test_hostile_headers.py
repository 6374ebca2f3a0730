"""A scan with a hostile header affects only its own case."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from arena import Arena
from headers import Base, bases_of, hostile_scan

from htcnns.labels import SEQUENCES

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def bases(cases: Path) -> list[Base]:
    return bases_of(next(cases.rglob("*00002-000-t1c.nii.gz")))


def test_a_hostile_header_affects_only_its_case(each_seed: Callable, bases: list[Base]) -> None:
    def spoil_one(arena: Arena, rng: np.random.Generator) -> None:
        arena.scan(rng.choice(SEQUENCES)).write_bytes(hostile_scan(bases, rng))
        arena.survived(arena.run())

    each_seed(spoil_one)


def test_a_case_with_four_hostile_headers_still_gets_a_mask(each_seed: Callable, bases: list[Base]) -> None:
    def spoil_all(arena: Arena, rng: np.random.Generator) -> None:
        content = hostile_scan(bases, rng)
        _ = [arena.scan(sequence).write_bytes(content) for sequence in SEQUENCES]
        arena.survived(arena.run())

    each_seed(spoil_all)
