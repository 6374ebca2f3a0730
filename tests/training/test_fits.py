"""The settings that a fit records, so that a fit with other settings does not resume from it."""

from pathlib import Path

import pytest
import torch
from prepared import TINY_RECIPE, write_phantoms

from htcnns.files.checkpoints import read_checkpoint
from htcnns.files.toml_file import read_toml
from htcnns.training.cases import open_store
from htcnns.training.fits import FitRequest, run_fit
from htcnns.training.loop import CHECKPOINT
from htcnns.training.recipe_text import recipe_of

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, {}), ({"key_point_weight": 0.5, "mirror": "ijk"}, {"key_point_weight": 0.5})],
    ids=["an earlier recipe", "with key points"],
)
def test_newer_settings_are_recorded_only_where_they_are_used(tmp_path: Path, changes: dict, expected: dict) -> None:
    """A fit begun by an earlier version, which had none of these settings, can therefore be resumed."""
    (tmp_path / "tiny.toml").write_text(TINY_RECIPE)
    recipe = recipe_of(read_toml(tmp_path / "tiny.toml") | changes, place="tiny")
    store = open_store([write_phantoms(tmp_path / "cache", ["a"])])
    request = FitRequest(recipe=recipe, member="unet", cards=store.cards, folder=tmp_path / "work")
    run_fit(request, store, device=torch.device("cpu"), n_workers=0)
    made_with = read_checkpoint(tmp_path / "work" / CHECKPOINT).made_with["recipe"]
    later = (
        "head",
        "preprocessing",
        "dice_weight",
        "generalised_dice_weight",
        "key_point_weight",
        "mirror",
        "rules",
        "additions",
    )
    assert {name: made_with[name] for name in later if name in made_with} == expected
    assert made_with["entropy_weight"] == 1.0
