"""Odd, cut or damaged gzip affects only its case as a scan or older mask, and is scored or refused in a sentence."""

import gzip
import re
from collections.abc import Callable

import numpy as np
import pytest
from arena import BAD, Arena
from gzips import hostile_gzip

from htcnns.labels import SEQUENCES

pytestmark = pytest.mark.slow


def _spoil_scan(arena: Arena, rng: np.random.Generator) -> None:
    path = arena.scan(rng.choice(SEQUENCES))
    path.write_bytes(hostile_gzip(gzip.decompress(path.read_bytes()), rng))
    arena.survived(arena.run())


def _spoil_mask_or_t1c(arena: Arena, rng: np.random.Generator) -> None:
    arena.survived(arena.run())
    path = rng.choice([arena.output / f"{BAD}.nii.gz", arena.scan("t1c")])
    path.write_bytes(hostile_gzip(gzip.decompress(path.read_bytes()), rng))
    arena.survived(arena.run())


def _spoil_prediction_or_truth(arena: Arena, rng: np.random.Generator) -> None:
    for side in ("predictions", "truths"):
        (arena.folder / side).mkdir()
        (arena.folder / side / f"{BAD}.nii.gz").write_bytes(arena.good_mask)
    path = arena.folder / rng.choice(["predictions", "truths"]) / f"{BAD}.nii.gz"
    path.write_bytes(hostile_gzip(gzip.decompress(path.read_bytes()), rng))
    said = arena.htcnns("evaluate", arena.folder / "predictions", arena.folder / "truths", "--rules", "brats2021")
    assert (said.code, said.err) == (0, "") or (said.code == 3 and re.fullmatch(r"htcnns: .*[.?]\n", said.err))


def test_a_hostile_scan_affects_only_its_case(each_seed: Callable) -> None:
    each_seed(_spoil_scan)


def test_a_hostile_mask_or_t1c_of_a_finished_case_affects_only_that_case(each_seed: Callable) -> None:
    each_seed(_spoil_mask_or_t1c)


def test_a_hostile_prediction_or_truth_is_scored_or_refused_in_one_sentence(each_seed: Callable) -> None:
    each_seed(_spoil_prediction_or_truth)
