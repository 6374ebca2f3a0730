"""Ablations: their rows, the same cases in every row, resuming without repeating finished work, and the tables."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from prepared import write_phantoms

from htcnns.errors import SettingsError
from htcnns.files.key_points import key_points_path
from htcnns.files.manifest import read_manifest
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import Region
from htcnns.networks.cost import Cost
from htcnns.reports.tables import table_records
from htcnns.runs.settings import RunSettings
from htcnns.scores.evaluation import EvaluateSettings, Evaluation, ScoredCase
from htcnns.training import record
from htcnns.training.ablation import Ablation, AblationRow, ablation_recipes, run_ablation
from htcnns.training.ablation_table import ablation_record, ablation_tables
from htcnns.training.campaign import Campaign, FitWatcher
from htcnns.training.cases import CaseStore, open_store
from htcnns.training.folds import deal
from htcnns.training.held_out import HeldOutPlan
from htcnns.training.recipe_text import recipe_toml
from htcnns.training.recipes import Addition, MemberRecipe, Recipe, Round
from htcnns.training.shipped_recipes import RECIPES

ROWS = ["baseline", "+MIE", "+SIE", "+BSC", "all"]
SHIPPED = RECIPES["dmfnet-mie-sie-bsc"]
TINY = {"channels": [8, 16], "groups": 4, "norm": "instance", "mie": True, "sie": True}
# A barely trained network predicts noise, whose pieces take long to count; above 0.9 it predicts nothing.
SILENT = PostprocessRules(thresholds={"WT": 0.9, "TC": 0.9, "ET": 0.9})
RECIPE = Recipe(
    name="tiny",
    title="one step",
    members=(
        MemberRecipe(
            name="dmfnet",
            title="DMFNet",
            network="dmfnet",
            size=TINY,
            rounds=(Round(steps=1, patches=((0.0, (16, 16, 16)),)),),
        ),
    ),
    dice_weight=0.0,
    generalised_dice_weight=1.0,
    entropy_weight=0.0,
    key_point_weight=0.5,
    average=0.0,
    precision="fp32",
    window=(32, 32, 32),
    rules=SILENT,
    additions=SHIPPED.additions,
)


def test_the_rows_of_the_shipped_recipe() -> None:
    recipes = ablation_recipes(SHIPPED)
    switches = {
        name: (*(recipe.members[0].arguments[part] for part in ("mie", "sie")), recipe.key_point_weight)
        for name, recipe in recipes.items()
    }
    assert list(switches.items()) == [
        ("baseline", (False, False, 0.0)),
        ("+MIE", (True, False, 0.0)),
        ("+SIE", (False, True, 0.0)),
        ("+BSC", (False, False, 0.1)),
        ("all", (True, True, 0.1)),
    ]
    assert recipes["all"] == SHIPPED


def test_only_the_first_of_several_members_is_ablated() -> None:
    (first,) = RECIPE.members
    two = replace(RECIPE, members=(first, replace(first, name="twin")))
    assert {recipe.members[0].name for recipe in ablation_recipes(two).values()} == {"dmfnet"}


def test_a_recipe_without_additions_is_refused() -> None:
    with pytest.raises(SettingsError, match="recipe: compact names no additions to remove"):
        ablation_recipes(RECIPES["compact"])


def test_an_argument_that_the_network_does_not_have_is_refused() -> None:
    recipe = replace(RECIPE, additions=(Addition("bsc", arguments={"bsc": False}),))
    with pytest.raises(SettingsError, match=r"size: .*bsc"):
        ablation_recipes(recipe)


class StopNowError(Exception):
    """Raised by a watcher to stop a run halfway."""


@dataclass
class Heard:
    """What a run reported; stops the run at the fit named `stop_at`."""

    stop_at: str = ""
    steps: list[str] = field(default_factory=list)
    cases: list[tuple[str, str, int]] = field(default_factory=list)

    def run(self, plan: HeldOutPlan, store: CaseStore) -> Ablation:
        return run_ablation(
            plan,
            store,
            device=torch.device("cpu"),
            watcher=FitWatcher(on_step=lambda name, _: self._step(name)),
            on_case=lambda row, card: self.cases.append((row, card.case, card.fold)),
        )

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name == self.stop_at:
            raise StopNowError


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    return open_store([write_phantoms(tmp_path_factory.mktemp("cache"), ["a", "b"])])


def plan_of(folder: Path, store: CaseStore, recipe: Recipe = RECIPE) -> HeldOutPlan:
    campaign = Campaign(recipe=recipe, source="phantoms", work=folder / "work", weights=folder / "out")
    return HeldOutPlan(
        campaign=campaign, folds=deal(store.cards, 2), settings=RunSettings(overlap=0), rules="brats2021"
    )


@dataclass(frozen=True)
class Ran:
    """An ablation that was interrupted and resumed, and what both runs reported."""

    plan: HeldOutPlan
    result: Ablation
    first: Heard
    second: Heard


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, store: CaseStore) -> Ran:
    plan = plan_of(tmp_path_factory.mktemp("ablation"), store)
    first, second = Heard(stop_at="+BSC fold 0 dmfnet"), Heard()
    with pytest.MonkeyPatch.context() as patch:  # drawing takes longer than these fits
        patch.setattr(record, "curves_picture", lambda *_, **__: np.zeros((1, 1, 3), np.uint8))
        with pytest.raises(StopNowError):
            first.run(plan, store)
        return Ran(plan, second.run(plan, store), first, second)


@pytest.mark.slow
def test_every_row_is_trained_in_every_fold_and_scored_on_the_same_cases(ran: Ran) -> None:
    assert [row.name for row in ran.result.rows] == [row.evaluation.name for row in ran.result.rows] == ROWS
    assert [(row.n_fits, row.steps) for row in ran.result.rows] == [(2, (1, 1))] * 5
    assert [[case.case for case in row.evaluation.cases] for row in ran.result.rows] == [["a", "b"]] * 5
    assert ran.second.cases == [(row, case, fold) for row in ROWS for fold, case in enumerate("ab")]


@pytest.mark.slow
def test_an_interrupted_ablation_resumes_where_it_stopped(ran: Ran) -> None:
    assert ran.first.steps == [f"{row} fold {k} dmfnet" for row in ROWS[:3] for k in (0, 1)] + ["+BSC fold 0 dmfnet"]
    assert ran.second.steps == [f"{row} fold {k} dmfnet" for row in ROWS[3:] for k in (0, 1)][1:]


@pytest.mark.slow
def test_what_is_finished_is_not_repeated(ran: Ran, store: CaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("htcnns.training.held_out.load_ensemble", lambda *_, **__: pytest.fail("segmented again"))
    again = Heard()
    assert again.run(ran.plan, store) == ran.result
    assert again.steps == []


@pytest.mark.slow
def test_members_have_their_row_s_parts_and_the_recipe_s_rules(ran: Ran) -> None:
    members = [read_manifest(ran.plan.campaign.weights / row / "fold-0")[0] for row in ROWS]
    assert [(member.size["mie"], member.size["sie"]) for member in members] == [
        *((False, False), (True, False), (False, True)),
        *((False, False), (True, True)),
    ]
    assert {repr(member.rules) for member in members} == {repr(SILENT)}
    assert len({member.files[0].sha256 for member in members}) == 5  # also with and without BSC


@pytest.mark.slow
def test_key_points_are_kept_beside_the_cases(ran: Ran, store: CaseStore) -> None:
    assert ran.result.rows
    (folder,) = {path.parent for path in store.files}
    assert all(key_points_path(folder, name).exists() for name in ("a", "b"))


def test_cases_that_annotate_too_little_are_refused_before_any_training(tmp_path: Path, store: CaseStore) -> None:
    poor = CaseStore({path: replace(card, known=(Region.WT,)) for path, card in store.files.items()})
    heard = Heard()
    with pytest.raises(SettingsError, match="no case whose truth annotates every region; expected WT, TC, ET"):
        heard.run(plan_of(tmp_path, store), poor)
    assert heard.steps == []


def row(name: str, factor: float, cost: Cost) -> AblationRow:
    """A row of two cases; every score of the second is twice that of the first."""
    scores = {"lesion_dice": 0.25, "lesion_hd95_mm": 8.0, "dice": 0.125, "hd95_mm": 4.0}
    cases = [
        ScoredCase(
            case=case, scores={r: {s: v * factor * times for s, v in scores.items()} for r in ("WT", "TC", "ET")}
        )
        for times, case in enumerate("ab", 1)
    ]
    evaluation = Evaluation(name=name, settings=EvaluateSettings(rules="brats2023-gli"), cases=tuple(cases))
    return AblationRow(name=name, cost=cost, n_fits=2, steps=(90, 100), evaluation=evaluation)


@pytest.fixture
def found() -> Ablation:
    return Ablation(
        (row("baseline", 1, Cost(3_875_858, 26_295_664_640)), row("all", 2, Cost(4_000_000, 3 * 10**10))), ()
    )


def test_each_row_of_the_tables_has_its_cost_and_scores(found: Ablation) -> None:
    whole, lesions = ablation_tables(found, (128, 128, 128))
    assert whole.title == "Ablation, whole masks: mean and 95 % interval over 2 cases"
    assert (
        whole.names
        == lesions.names
        == (
            *("row", "parameters, M", "GMAC at 128 x 128 x 128", "steps", "fits"),
            *(f"{score} {region}" for score in ("Dice", "HD95 mm") for region in ("ET", "TC", "WT")),
        )
    )
    assert whole.rows[0][:6] == ("baseline", "3.876", "26.30", "90 to 100", 2, "0.1875 (0.1250 to 0.2500)")
    assert lesions.rows[1][-1] == "24.00 (16.00 to 32.00)"


def test_the_record_has_every_mean_unrounded(found: Ablation) -> None:
    records = table_records(ablation_record(found))
    assert len(records) == 2 * 3 * 4
    last = next(r for r in records if (r["row"], r["region"], r["score"]) == ("all", "TC", "dice"))
    assert (last["n_parameters"], last["n_macs"], last["mean"], last["n_cases"]) == (4_000_000, 3 * 10**10, 0.375, 2)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_the_command_prints_and_writes_its_tables(tmp_path: Path, htcnns: Callable) -> None:
    packs = write_phantoms(tmp_path / "packs", ["a", "b"])
    (tmp_path / "tiny.toml").write_text(recipe_toml(replace(RECIPE, additions=RECIPE.additions[1:])))
    flags = ("--folds", "2", "--recipe", tmp_path / "tiny.toml", "--work", tmp_path / "work", "--out", tmp_path / "out")
    table = tmp_path / "table.md"
    said = htcnns("ablation", packs, *flags, "--source", "phantoms", "--device", "cpu", "--table", table)
    assert (said.code, said.err) == (0, "")
    assert table.read_text() in said.out
    assert "### Ablation, whole masks: mean and 95 % interval over 2 cases" in said.out
    assert [line.split("|")[1].strip() for line in table.read_text().splitlines()[4:8]] == [*ROWS[:1], *ROWS[2:]]
    assert {path.name for path in (tmp_path / "out").glob("*.csv")} == {
        *("ablation.csv", "cross_validation.csv", "folds.csv"),
    }
