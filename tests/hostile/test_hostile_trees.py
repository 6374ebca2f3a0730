"""A good case gets its mask whatever lies around it, and no file among the scans is changed."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from arena import GOOD, Arena
from trees import spoil_tree

pytestmark = pytest.mark.slow


def _contents(folder: Path) -> dict[str, str]:
    """The checksum of every regular file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _beside_a_good_case(arena: Arena, rng: np.random.Generator) -> None:
    spoil_tree(arena.bad, arena.output, rng)
    before = _contents(arena.folder / "in")
    older = [path.name for path in arena.output.glob("*")]
    listed = arena.htcnns("cases", arena.folder / "in")
    arena.survived(arena.run("--on-unclear", "fail"), named=(GOOD,), older=older)
    assert listed.code in (0, 3)
    assert _contents(arena.folder / "in") == before


def _into_itself(arena: Arena, rng: np.random.Generator) -> None:
    spoil_tree(arena.bad, arena.folder / "in", rng)
    before = _contents(arena.folder / "in")
    said = arena.run("--on-unclear", "fail", "--on-failure", "skip", "--again", output=arena.folder / "in")
    assert said.code in (0, 7)
    assert before.items() <= _contents(arena.folder / "in").items()


def test_a_good_case_survives_a_hostile_tree(each_seed: Callable) -> None:
    each_seed(_beside_a_good_case)


def test_a_hostile_tree_segmented_into_itself_loses_nothing(each_seed: Callable) -> None:
    each_seed(_into_itself)
