"""Folds: alternate names, and nobody is trained on what it is tested on."""

from pathlib import Path

import numpy as np
import pytest
import torch

from htcnns.networks import NETWORKS, SIZES, build_network
from htcnns.training import folds
from htcnns.training.folds import FITS, FOLDS, fold_of, run_fit, trained_on
from htcnns.training.loop import Round, TrainSettings
from htcnns.training.samples import TrainingCase

NAMES = ["e", "a", "d", "b", "c"]
CASES = [TrainingCase(name, np.zeros((4, 1, 1, 1), np.float16), np.zeros((1, 1, 1), np.uint8)) for name in NAMES]


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What run_fit asks to be trained, without training it."""
    asked: list[dict] = []

    def remember(
        network: torch.nn.Module, cases: list, settings: TrainSettings, *, checkpoint: Path, **_: object
    ) -> None:
        weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        names = [case.name for case in cases]
        asked.append({"weights": weights, "names": names, "settings": settings, "checkpoint": checkpoint})

    monkeypatch.setattr(folds, "fit", remember)
    return asked


def run(member: str, fit_name: str, *, seed: int = 1) -> torch.nn.Module:
    settings = TrainSettings((Round(6),), seed=seed)
    return run_fit(
        member, fit_name, CASES, settings, folder=Path("fits"), device=torch.device("cpu"), on_step=lambda _: None
    )


def test_sorted_names_are_held_out_alternately() -> None:
    assert fold_of(NAMES) == {"a": "fold0", "b": "fold1", "c": "fold0", "d": "fold1", "e": "fold0"}


def test_the_order_of_the_names_does_not_matter() -> None:
    assert fold_of(NAMES) == fold_of(NAMES[::-1])


@pytest.mark.parametrize("fold", FOLDS)
def test_nobody_is_trained_on_what_it_is_tested_on(fold: str) -> None:
    tested_on = {name for name, held_out in fold_of(NAMES).items() if held_out == fold}
    assert tested_on
    assert tested_on.isdisjoint(trained_on(fold, NAMES))
    assert tested_on | set(trained_on(fold, NAMES)) == set(NAMES)


def test_every_case_is_tested_once() -> None:
    assert sorted(fold_of(NAMES)) == sorted(NAMES)
    assert set(fold_of(NAMES).values()) == set(FOLDS)


def test_what_is_shipped_was_trained_on_every_case() -> None:
    assert trained_on("all", NAMES) == sorted(NAMES)


def test_a_fold_that_does_not_exist_would_hold_nothing_out_and_is_refused() -> None:
    with pytest.raises(AssertionError, match="fold2"):
        trained_on("fold2", NAMES)


@pytest.mark.parametrize("fit_name", FITS)
def test_a_fit_gets_its_cases_sorted(fits: list[dict], fit_name: str) -> None:
    run("unet", fit_name)
    assert fits[0]["names"] == trained_on(fit_name, NAMES)
    assert fits[0]["checkpoint"] == Path("fits") / f"unet-{fit_name}.pt"


@pytest.mark.parametrize("member", NETWORKS)
def test_fits_of_a_member_start_alike(fits: list[dict], member: str) -> None:
    run(member, "fold0")
    run(member, "all")
    torch.testing.assert_close(fits[0]["weights"], fits[1]["weights"], rtol=0, atol=0)
    assert fits[0]["settings"] == fits[1]["settings"]


def test_the_compact_network_is_trained(fits: list[dict]) -> None:
    run("transbts", "fold1")
    expected = build_network("transbts", SIZES["transbts"]["compact"]).state_dict()
    assert {k: v.shape for k, v in fits[0]["weights"].items()} == {k: v.shape for k, v in expected.items()}


def test_members_see_different_patches(fits: list[dict]) -> None:
    run("unet", "fold0")
    run("transbts", "fold0")
    run("axial_unet", "fold0")
    assert len({fit["settings"].seed for fit in fits}) == 3


def test_another_seed_starts_from_other_weights(fits: list[dict]) -> None:
    run("unet", "fold0", seed=1)
    run("unet", "fold0", seed=2)
    name = "encoder.stages.0.0.convs.0.conv.weight"
    assert not torch.equal(fits[0]["weights"][name], fits[1]["weights"][name])


@pytest.mark.usefixtures("fits")
def test_the_random_numbers_of_others_are_left_alone() -> None:
    before = torch.get_rng_state()
    run("unet", "fold0")
    torch.testing.assert_close(torch.get_rng_state(), before, rtol=0, atol=0)
