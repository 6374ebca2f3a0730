"""Training from the command line: what is printed on the way, and what lies in the folders afterwards."""

from collections.abc import Callable
from pathlib import Path

from prepared import TINY_RECIPE, write_phantoms


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
