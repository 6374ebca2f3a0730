"""The commands of `make train-demo`, which people without data can try, work one after the other up to the masks."""

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from htcnns.files.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[2]


def commands() -> list[list[str]]:
    """The arguments of every htcnns command that the make target runs."""
    said = subprocess.run(
        ["make", "--dry-run", "train-demo"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    lines = [shlex.split(line) for line in said.stdout.splitlines() if "/htcnns " in line]
    return [words[1:] for words in lines if words[0].endswith("/htcnns")]


def test_the_demo_shows_every_command_that_makes_weights() -> None:
    names = [words[0] for words in commands()]
    assert names == ["recipes", "synthesise", "pack", "train", "cv", "tune", "train", "segment"]
    assert sum("--from" in words for words in commands()) == 1


@pytest.mark.slow
def test_the_demo_ends_with_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, htcnns: Callable[..., object]
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = [(said.code, said.err) for said in (htcnns(*words) for words in commands())]
    assert ended == [(0, "")] * len(ended)
    demo = tmp_path / ".work" / "demo"
    names = sorted(path.name for path in (demo / "cases").iterdir())
    assert sorted(path.name.removesuffix(".nii.gz") for path in (demo / "masks").iterdir()) == names
    masks = [np.asarray(nib.load(path).dataobj) for path in (demo / "masks").iterdir()]
    assert all(0 < np.count_nonzero(mask) < 0.1 * mask.size for mask in masks)
    assert (demo / "fit" / "tiny" / "curves.png").exists()
    assert (demo / "cv" / "cross_validation.csv").exists()
    (member,) = read_manifest(demo / "rules")
    assert member.scores["tuning"]["tiny"]["after"] > 0.2
    (tuned,) = read_manifest(demo / "tuned")
    assert (tuned.rules, tuned.scores) == (member.rules, member.scores)
