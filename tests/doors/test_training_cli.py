"""Training from the command line: what is printed on the way, and what lies in the folders afterwards."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from prepared import TINY_RECIPE, write_phantoms

from htcnns.reports.gallery import Shown
from htcnns.training.synthesis.contrasts import Contrasts
from htcnns.training.synthesis.series import Material


def test_cases_to_validate_on_are_scored_and_shown(tmp_path: Path, htcnns: Callable) -> None:
    packs, others = write_phantoms(tmp_path / "packs", ["a", "b"]), write_phantoms(tmp_path / "others", ["c"])
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(TINY_RECIPE.replace("steps = 2", "steps = 4"))
    folders = ("--work", tmp_path / "work", "--out", tmp_path / "weights")
    flags = ("--recipe", recipe, *folders, "--source", "phantoms", "--device", "cpu")
    said = htcnns("train", packs, *flags, "--validate-on", others, "--validate-every", "3")
    assert (said.code, said.err) == (0, "")
    looks = [line for line in said.out.splitlines() if "validation Dice" in line]
    assert [line.split(",")[0] for line in looks] == ["unet: step 3 of 4", "unet: step 4 of 4"]
    assert all(" WT 0." in line and ", ET 0." in line for line in looks)
    names = {path.name for path in (tmp_path / "work" / "unet").iterdir()}
    assert names == {"checkpoint.pt", "curves.csv", "curves.png", "validation.csv"}


@pytest.fixture
def synthesise(tmp_path: Path, htcnns: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """A function that makes one head, quickly as none is made, with these further arguments."""
    shown = Shown("head", np.zeros((4, 24, 24, 24), np.float32), np.zeros((24, 24, 24), np.uint8))
    material = Material(anatomies={}, shapes=(), contrasts=Contrasts())
    monkeypatch.setattr("htcnns.training.synthesis.series.read_material", lambda *_: material)
    monkeypatch.setattr("htcnns.training.synthesis.series.write_series", lambda *_, **__: (tmp_path / "out").mkdir())
    monkeypatch.setattr("htcnns.training.synthesis.shown._synthetic", lambda *_, **__: iter([shown]))
    return lambda *more: htcnns("synthesise", 1, tmp_path / "out", "--anatomy", tmp_path, *more)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (os.mkfifo, "is a device, a pipe or a socket"),
        (os.mkdir, "is a folder"),
        (lambda path: path.symlink_to("/dev/null"), "is a device, a pipe or a socket"),
    ],
    ids=["pipe", "folder", "device"],
)
def test_a_gallery_that_cannot_be_written_is_said_before_a_head_is_made(
    tmp_path: Path, synthesise: Callable, make: Callable[[Path], None], says: str
) -> None:
    make(tmp_path / "heads.png")
    said = synthesise("--gallery", tmp_path / "heads.png")
    assert (said.code, said.out) == (6, "")
    assert said.err.startswith(f"htcnns: --gallery: {tmp_path}/heads.png: {says}")
    assert not (tmp_path / "out").exists()


def test_a_gallery_is_written_where_its_link_leads(tmp_path: Path, synthesise: Callable) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "heads.png").symlink_to("store/heads.png")
    said = synthesise("--gallery", tmp_path / "heads.png")
    assert (said.code, said.err, (tmp_path / "heads.png").is_symlink()) == (0, "", True)
    assert (tmp_path / "store" / "heads.png").read_bytes().startswith(b"\x89PNG")
