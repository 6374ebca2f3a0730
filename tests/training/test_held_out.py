"""Every case is segmented once, by members that never saw its patient, and scored by the evaluation's own code."""

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from prepared import make_card, phantom_case, plain_case, write_phantoms

from htcnns.errors import SettingsError, WeightsError
from htcnns.files.held_out_maps import MapCard, read_maps
from htcnns.files.manifest import read_manifest
from htcnns.files.prepared_cases import PreparedCase
from htcnns.image.postprocess import PostprocessRules
from htcnns.image.preprocess import PreprocessSettings
from htcnns.labels import REGION_SETS, Region, Sequence
from htcnns.runs.ensemble import Ensemble
from htcnns.runs.settings import RunSettings
from htcnns.training.campaign import Campaign, FitWatcher
from htcnns.training.cases import CaseStore, open_store
from htcnns.training.folds import Folds, deal
from htcnns.training.held_out import HeldOut, HeldOutPlan, cross_validate
from htcnns.training.packed_inference import as_networks_see, packed_probabilities
from htcnns.training.recipes import MemberRecipe, Recipe, Round

UNET = MemberRecipe(
    name="unet",
    title="U-Net",
    network="unet",
    size={"channels": [2, 4], "n_convs": [1, 1]},
    rounds=(Round(steps=1, patches=((0.0, (16, 16, 16)),)),),
)
RECIPE = Recipe(
    name="short",
    title="one step",
    members=(UNET, replace(UNET, name="twin")),
    precision="fp32",
    window=(32, 32, 32),
)
# A barely trained network predicts noise, on which STAPLE takes seconds; above 0.9 it predicts nothing.
SILENT = PostprocessRules(thresholds={"WT": 0.9, "TC": 0.9, "ET": 0.9})
CPU = torch.device("cpu")
NAMES = ["BraTS-GLI-00001-000", "BraTS-GLI-00001-001", "BraTS-GLI-00002-000"]
PATIENTS = {"BraTS-GLI-00001": 0, "BraTS-GLI-00002": 1}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures")]


def plan_of(folder: Path, folds: Folds, **changes: object) -> HeldOutPlan:
    campaign = Campaign(recipe=RECIPE, source="phantoms", work=folder / "work", weights=folder / "out", rules=SILENT)
    return HeldOutPlan(
        campaign=campaign, folds=folds, settings=RunSettings(overlap=0), **{"rules": "brats2021", **changes}
    )


@dataclass
class Heard:
    """What a run reported."""

    steps: list[str] = field(default_factory=list)
    cases: list[MapCard] = field(default_factory=list)

    def run(self, plan: HeldOutPlan, store: CaseStore) -> HeldOut:
        watcher = FitWatcher(on_step=lambda name, _: self.steps.append(name))
        return cross_validate(plan, store, device=CPU, watcher=watcher, on_case=self.cases.append)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    """Three cases of two patients."""
    folder = tmp_path_factory.mktemp("cache")
    write_phantoms(folder, NAMES)
    cards = open_store([folder])._paths
    named = {
        path: replace(make_card(n), patients=(n[:15],), shape=phantom_case(n).card.shape) for n, path in cards.items()
    }
    return CaseStore(named)


@pytest.fixture(scope="module")
def extra(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    folder = tmp_path_factory.mktemp("extra")
    write_phantoms(folder, ["child"])
    return open_store([folder])


@dataclass(frozen=True)
class Ran:
    """A cross-validation with its folder, and what it reported."""

    folder: Path
    plan: HeldOutPlan
    result: HeldOut
    heard: Heard


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, store: CaseStore, extra: CaseStore) -> Ran:
    folder, heard = tmp_path_factory.mktemp("cv"), Heard()
    plan = plan_of(folder, deal(store.cards, 2), extra=extra)
    return Ran(folder, plan, heard.run(plan, store), heard)


def test_each_fold_s_members_see_only_the_other_patients(ran: Ran) -> None:
    assert dict(ran.plan.folds.fold_of) == PATIENTS
    seen = [read_manifest(ran.folder / "out" / f"fold-{fold}")[0].trained_on["cases"] for fold in (0, 1)]
    assert seen == [NAMES[2:], NAMES[:2]]


def test_every_case_is_held_out_once_and_extra_ones_are_segmented_by_every_fold(ran: Ran) -> None:
    told = [(card.case, card.fold, card.is_held_out) for card in ran.heard.cases]
    assert told == [
        (NAMES[0], 0, True),
        (NAMES[1], 0, True),
        ("child", 0, False),
        (NAMES[2], 1, True),
        ("child", 1, False),
    ]
    assert [each.card.case for each in read_maps(ran.folder / "out")] == NAMES


def test_members_and_fusions_are_scored_cleaned_and_raw(ran: Ran) -> None:
    names = ["unet", "twin", "staple", "majority", "mean"]
    assert [each.name for each in ran.result.evaluations] == [*names, *(f"{name}, raw" for name in names)]
    assert [[case.case for case in each.cases] for each in ran.result.evaluations] == [NAMES] * 10
    assert [case.case for case in ran.result.extra[0].cases] == ["child by fold 0", "child by fold 1"]
    assert set(ran.result.evaluations[0].cases[0].scores) == {"WT", "TC", "ET"}


def test_fits_are_named_after_their_fold(ran: Ran) -> None:
    assert ran.heard.steps == ["fold 0 unet", "fold 0 twin", "fold 1 unet", "fold 1 twin"]


def test_what_is_finished_is_not_repeated(ran: Ran, store: CaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a member was loaded")

    monkeypatch.setattr("htcnns.training.held_out.load_ensemble", fail)
    heard = Heard()
    again = heard.run(ran.plan, store)
    assert heard.steps == []
    assert again == ran.result


def test_probabilities_from_other_weights_are_computed_again(tmp_path: Path, ran: Ran, store: CaseStore) -> None:
    out = tmp_path / "out"
    shutil.copytree(ran.folder / "out", out)
    before = {each.card.case: each.card.key for each in read_maps(out)}
    recipe = replace(RECIPE, members=(replace(UNET, name="unet"),), seed=7)
    plan = plan_of(tmp_path, ran.plan.folds)
    result = Heard().run(replace(plan, campaign=replace(plan.campaign, recipe=recipe)), store)
    after = {each.card.case: (each.card.key, each.card.members) for each in read_maps(out)}
    assert all(key != before[case] and members == ("unet",) for case, (key, members) in after.items())
    assert [each.name for each in result.evaluations] == ["unet", "unet, raw"]


def test_probabilities_from_other_windows_are_computed_again(tmp_path: Path, ran: Ran, store: CaseStore) -> None:
    shutil.copytree(ran.folder, tmp_path, dirs_exist_ok=True)
    before = {each.card.case: each.card.key for each in read_maps(tmp_path / "out")}
    plan = plan_of(tmp_path, ran.plan.folds)
    recipe = replace(RECIPE, window=(16, 16, 16))
    Heard().run(replace(plan, campaign=replace(plan.campaign, recipe=recipe)), store)
    files = [[read_manifest(each / "out" / "fold-0")[0].files[0].sha256] for each in (ran.folder, tmp_path)]
    assert files[0] == files[1]
    assert all(each.card.key != before[each.card.case] for each in read_maps(tmp_path / "out"))


def test_a_case_that_annotates_too_little_is_trained_on_but_not_scored(tmp_path: Path, store: CaseStore) -> None:
    bare = {store._paths[c.name]: replace(c, known=(Region.WT,)) if c.name == NAMES[1] else c for c in store.cards}
    plan = plan_of(tmp_path, Folds(PATIENTS, 2))
    result = Heard().run(plan, CaseStore(bare))
    assert result.not_scored == (NAMES[1],)
    assert [case.case for case in result.evaluations[0].cases] == [NAMES[0], NAMES[2]]
    assert read_manifest(tmp_path / "out" / "fold-1")[0].trained_on["cases"] == NAMES[:2]


def test_a_missing_sequence_is_zero_and_only_held_out_cases_are_segmented_without_it(
    tmp_path: Path, store: CaseStore, extra: CaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[list[bool]] = []

    def remembered(ensemble: Ensemble, case: PreparedCase, settings: RunSettings) -> np.ndarray:
        shown.append([bool(each.any()) for each in case.array])
        return packed_probabilities(ensemble, case, settings)

    monkeypatch.setattr("htcnns.training.held_out.packed_probabilities", remembered)
    plan = plan_of(tmp_path, deal(store.cards, 2), extra=extra, without=(Sequence.T1C,), with_raw=False)
    result = Heard().run(plan, store)
    assert shown.count([True] * 4) == 5  # three held-out cases, and the extra one by two folds
    assert shown.count([True, False, True, True]) == 3
    assert len(shown) == 8
    (poorer,) = result.without.values()
    assert [[case.case for case in each.cases] for each in poorer] == [NAMES] * 5
    assert [each.card.case for each in read_maps(tmp_path / "out")] == NAMES


def test_a_case_that_never_had_the_sequence_is_not_scored_without_it(tmp_path: Path, store: CaseStore) -> None:
    left = (Sequence.T1N, Sequence.T2W, Sequence.T2F)
    bare = {store._paths[c.name]: replace(c, sequences=left) if c.name == NAMES[1] else c for c in store.cards}
    plan = plan_of(tmp_path, Folds(PATIENTS, 2), without=(Sequence.T1C,), with_raw=False)
    (poorer,) = Heard().run(plan, CaseStore(bare)).without.values()
    assert [case.case for case in poorer[0].cases] == [NAMES[0], NAMES[2]]


def test_an_extra_case_of_a_patient_who_is_trained_on_is_refused(tmp_path: Path, store: CaseStore) -> None:
    with pytest.raises(SettingsError, match=rf"extra: {NAMES[0]}, .*: same patient as a training case"):
        Heard().run(plan_of(tmp_path, Folds(PATIENTS, 2), extra=store), store)


def test_weights_that_saw_a_held_out_patient_are_refused(tmp_path: Path, ran: Ran, store: CaseStore) -> None:
    origin = ran.folder / "out" / "fold-0"
    plan = plan_of(tmp_path, Folds(PATIENTS, 2))
    plan = replace(plan, campaign=replace(plan.campaign, origin=origin))
    with pytest.raises(WeightsError, match=rf"have seen patients that are held out \({NAMES[2]}\)"):
        Heard().run(plan, store)


def test_rules_for_labels_that_no_member_predicts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"rules: brats2024-gli does not score what the members predict; found .*RC"
    ):
        plan_of(tmp_path, Folds(PATIENTS, 2), rules="brats2024-gli")


def test_rules_without_label_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="found labels of its own, expected NCR, ED, ET"):
        plan_of(tmp_path, Folds(PATIENTS, 2), rules="brats2024-men-rt")


def test_post_treatment_rules_fit_a_recipe_with_cavities(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, Folds(PATIENTS, 2))
    recipe = replace(RECIPE, regions=REGION_SETS["wt-tc-et-rc"])
    assert replace(plan, campaign=replace(plan.campaign, recipe=recipe), rules="brats2024-gli").rules == "brats2024-gli"


def test_padding_of_a_packed_case_can_be_undone() -> None:
    rng = np.random.default_rng(1)
    array = rng.normal(size=(4, 6, 7, 8)).astype(np.float32)
    array[:, 0] = 0
    case = plain_case(array, np.zeros((6, 7, 8), np.uint8))
    prepared = as_networks_see(case, PreprocessSettings(window=(8, 8, 8)))
    assert prepared.array.shape == (4, 8, 8, 8)
    back = prepared.undo(prepared.array)
    np.testing.assert_allclose(back, array, atol=0.03)
    np.testing.assert_array_equal(prepared.undo(prepared.brain[None])[0], (array != 0).any(axis=0))
