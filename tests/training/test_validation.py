"""Validation cases of a fit: scored at intervals, never trained on, and without any effect on the weights."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from prepared import make_card, plain_case, write_phantoms

from htcnns.errors import InputError, SettingsError, WeightsError
from htcnns.files.curves import CaseDice, read_validation
from htcnns.files.manifest import choose_members, read_manifest
from htcnns.files.prepared_cases import write_prepared
from htcnns.files.weights import load_networks
from htcnns.image.postprocess import PostprocessRules, postprocess
from htcnns.labels import Region, region_mask
from htcnns.runs.ensemble import load_ensemble
from htcnns.scores.metrics import dice
from htcnns.training.campaign import Campaign, FitWatcher, train_set
from htcnns.training.cases import CaseStore, open_store
from htcnns.training.packed_inference import packed_probabilities
from htcnns.training.progress import Progress
from htcnns.training.recipes import MemberRecipe, Recipe, Round
from htcnns.training.team import Team
from htcnns.training.validation import Validation, mean_dice, validate
from htcnns.training.voices import without_clean_up

pytestmark = pytest.mark.slow

EACH = Round(steps=5, warmup=1, patches=((0.0, (16, 16, 32)),))
TRANSBTS_SIZE = {"channels": [4, 8], "blocks": [0, 1], "embedding": 8, "layers": 1, "heads": 2, "hidden": 16}
UNET = MemberRecipe(
    name="unet", title="U-Net", network="unet", size={"channels": [4, 8], "n_convs": [1, 1]}, rounds=(EACH,)
)
DROPPING = replace(
    UNET, network="transbts", size={**TRANSBTS_SIZE, "edge": 16, "norm": "batch", "dropout": 0.3}
)  # random numbers in every step, and running statistics
RECIPE = Recipe(
    name="short", title="five steps", members=(UNET,), precision="fp32", window=(32, 32, 32), checkpoint_steps=2
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    folder = tmp_path_factory.mktemp("cache")
    write_phantoms(folder, ["a", "b"])
    return open_store([folder])


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    """Three cases: one fully annotated, one with only its whole tumour known, and one with nothing known."""
    folder = tmp_path_factory.mktemp("others")
    write_phantoms(folder, ["c"])
    case = open_store([folder])["c"]
    for name, known in (("d", (Region.WT,)), ("e", ())):
        card = make_card(name, known=known, shape=case.card.shape)
        write_prepared(folder, replace(case, card=card))
    return open_store([folder])


def train(folder: Path, store: CaseStore, watcher: FitWatcher = FitWatcher(), **changes: object) -> Path:  # noqa: B008
    """The weights folder of a campaign with these changes."""
    settings = {"recipe": RECIPE, "source": "phantoms", "work": folder / "work", "weights": folder / "weights"}
    train_set(Campaign(**{**settings, **changes}), store, store.cards, device=CPU, watcher=watcher)
    return folder / "weights"


def test_cases_are_scored_every_so_often_and_after_the_last_step(
    tmp_path: Path, store: CaseStore, others: CaseStore
) -> None:
    heard: list[Progress] = []
    watcher = FitWatcher(on_step=lambda _, progress: heard.append(progress))
    train(tmp_path, store, watcher, validation=Validation(store=others, every=2))
    with (tmp_path / "work" / "unet" / "validation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["case"]) for row in rows] == [(step, case) for step in "245" for case in "cd"]
    assert all(row["TC"] == row["ET"] == "" for row in rows if row["case"] == "d")
    assert all(0 <= float(row["WT"]) <= 1 for row in rows)
    assert [bool(each.dice) for each in heard] == [False, True, False, True, True]
    assert list(heard[-1].dice) == ["WT", "TC", "ET"]
    assert heard[-1].dice["WT"] == pytest.approx(np.mean([float(row["WT"]) for row in rows[-2:]]))


def test_the_last_scores_are_those_of_the_final_weights(tmp_path: Path, store: CaseStore, others: CaseStore) -> None:
    weights = train(tmp_path, store, validation=Validation(store=others))
    ensemble = load_ensemble(read_manifest(weights), device=CPU, precision=torch.float32)
    validation = Validation(store=others)
    (probabilities,) = packed_probabilities(ensemble, others["c"], validation.settings)
    label_map, _ = postprocess(probabilities, RECIPE.regions, without_clean_up(PostprocessRules()))
    found, _ = read_validation(tmp_path / "work" / "unet" / "validation.csv", up_to=9)
    expected = {
        region.name: dice(region_mask(label_map, region), region_mask(others["c"].label_map, region))
        for region in RECIPE.regions.regions
    }
    assert found.dice == pytest.approx(expected, abs=1e-4)  # a voxel at the threshold may fall either way


@pytest.mark.parametrize("member", [UNET, pytest.param(DROPPING, marks=pytest.mark.slow)], ids=["unet", "transbts"])
def test_validation_changes_neither_the_weights_nor_the_random_numbers(
    tmp_path: Path, store: CaseStore, others: CaseStore, member: MemberRecipe
) -> None:
    recipe = replace(RECIPE, members=(member,))
    plain = train(tmp_path / "plain", store, recipe=recipe)
    before = torch.get_rng_state()
    measured = train(tmp_path / "measured", store, recipe=recipe, validation=Validation(store=others, every=1))
    assert torch.equal(torch.get_rng_state(), before)
    states = [load_networks(read_manifest(folder)[0])[0].state_dict() for folder in (plain, measured)]
    torch.testing.assert_close(dict(states[1]), dict(states[0]), rtol=0, atol=0)


def test_an_interrupted_fit_resumes_with_its_scores(tmp_path: Path, store: CaseStore, others: CaseStore) -> None:
    def unplug(_: str, progress: Progress) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    validation = Validation(store=others, every=1)
    train(tmp_path / "whole", store, validation=validation)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", store, FitWatcher(on_step=unplug), validation=validation)
    train(tmp_path / "cut", store, validation=validation)
    paths = [tmp_path / name / "work" / "unet" / "validation.csv" for name in ("whole", "cut")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert [point.step for point in read_validation(paths[1], up_to=9)] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_a_fit_may_resume_with_other_validation_cases_and_memory_use(
    tmp_path: Path, store: CaseStore, others: CaseStore
) -> None:
    train(tmp_path, store, recipe=RECIPE)
    steps: list[int] = []
    watcher = FitWatcher(on_step=lambda _, progress: steps.append(progress.step))
    recipe = replace(RECIPE, recompute_activations=True)
    train(tmp_path, store, watcher, recipe=recipe, validation=Validation(store=others))
    assert steps == []


def test_the_picture_of_the_curves_is_taller_with_validation(
    tmp_path: Path, store: CaseStore, others: CaseStore
) -> None:
    for name, validation in (("plain", None), ("measured", Validation(store=others, every=2))):
        train(tmp_path / name, store, validation=validation)
    pictures = [(tmp_path / name / "work" / "unet" / "curves.png").read_bytes() for name in ("plain", "measured")]
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
    heights = [int.from_bytes(picture[20:24], "big") for picture in pictures]
    assert heights[1] > heights[0]


@dataclass(frozen=True)
class Half:
    """One of two processes, as if the other had nothing to add."""

    rank: int
    size: int = 2

    def total(self, value: float, _: torch.device) -> float:
        return value


def test_processes_share_the_cases(others: CaseStore, tiny_weights: Path) -> None:
    unet = choose_members(read_manifest(tiny_weights), ("unet",))
    ensemble = load_ensemble(unet, device=CPU, precision=torch.float32)
    teams = (Team(), Half(0), Half(1))
    whole, first, second = (validate(ensemble, Validation(store=others), 7, team) for team in teams)
    assert [(each.step, each.case) for each in whole] == [(7, "c"), (7, "d")]
    assert [each.dice["WT"] > 0 for each in whole] == [True, True]
    assert [first[0].dice, second[1].dice] == [each.dice for each in whole]
    assert set(first[1].dice.values()) == set(second[0].dice.values()) == {0.0}


def test_cases_of_patients_who_are_trained_on_are_refused(tmp_path: Path, store: CaseStore) -> None:
    message = "validate_on: a, b: same patient as a training case; expected cases of other patients"
    with pytest.raises(SettingsError, match=message):
        train(tmp_path, store, validation=Validation(store=store))
    assert not (tmp_path / "work").exists()


def test_weights_that_saw_the_patients_are_refused(tmp_path: Path, store: CaseStore, others: CaseStore) -> None:
    origin = train(tmp_path / "old", others)
    with pytest.raises(WeightsError, match=r"origin: .*have seen patients used for validation \(c, d\)"):
        train(tmp_path / "new", store, origin=origin, validation=Validation(store=others))
    assert not (tmp_path / "new").exists()


def test_cases_without_annotation_are_refused(tmp_path: Path, store: CaseStore) -> None:
    case = plain_case(np.ones((4, 8, 8, 8), np.float32), np.zeros((8, 8, 8), np.uint8), name="x", known=())
    (tmp_path / "blind").mkdir()
    write_prepared(tmp_path / "blind", case)
    with pytest.raises(InputError, match="validate_on: no case to validate on; expected packed cases whose truth"):
        train(tmp_path, store, validation=Validation(store=open_store([tmp_path / "blind"])))


def test_at_least_one_step_lies_between_two_validations(others: CaseStore) -> None:
    with pytest.raises(SettingsError, match="validate_every: too few steps; found 0, expected at least 1"):
        Validation(store=others, every=0)


def test_regions_are_averaged_over_the_cases_that_annotate_them() -> None:
    assert mean_dice([CaseDice(1, "a", {"WT": 0.5, "ET": 0.25}), CaseDice(1, "b", {"WT": 1.0})]) == {
        "WT": 0.75,
        "ET": 0.25,
    }
    assert mean_dice([]) == {}
