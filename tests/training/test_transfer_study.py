"""Transfer between populations: which cases each approach is trained and measured on, and what is refused."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from prepared import write_phantoms

from htcnns.errors import InputError, SettingsError
from htcnns.files.manifest import read_manifest
from htcnns.files.prepared_cases import CaseKind
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import Region
from htcnns.runs.settings import RunSettings
from htcnns.training.campaign import Campaign, FitWatcher
from htcnns.training.cases import CaseStore, open_store
from htcnns.training.folds import deal
from htcnns.training.held_out import HeldOutPlan
from htcnns.training.recipes import MemberRecipe, Recipe, Round
from htcnns.training.transfer_study import TransferPlan, TransferStudy, run_transfer_study

UNET = MemberRecipe(
    name="unet",
    title="U-Net",
    network="unet",
    size={"channels": [2, 4], "n_convs": [1, 1]},
    rounds=(Round(steps=2, patches=((0.0, (16, 16, 16)),)),),
)
RECIPE = Recipe(
    name="short",
    title="two steps",
    members=(UNET, replace(UNET, name="twin")),
    precision="fp32",
    window=(32, 32, 32),
)
# A barely trained network predicts noise, on which STAPLE takes seconds; above 0.9 it predicts nothing.
SILENT = PostprocessRules(thresholds={"WT": 0.9, "TC": 0.9, "ET": 0.9})
ROWS = [
    *("scratch: unet", "source: unet", "source: twin", "source+EN", "TR: unet", "TR: twin", "TR+EN"),
    *("synthetic: unet", "synthetic-then-real: unet"),
]
MakeStore = Callable[..., CaseStore]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures")]


@pytest.fixture(scope="module")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> MakeStore:
    """A function that packs phantoms of these names into a folder of their own; keyword arguments go to their cards."""

    def make(*names: str, **about: object) -> CaseStore:
        return open_store([write_phantoms(tmp_path_factory.mktemp("cache"), names, **about)])

    return make


@pytest.fixture(scope="module")
def heads(make_store: MakeStore) -> CaseStore:
    """Three synthetic heads: with a stranger's tumour, a target patient's, and the extra patient's."""
    kind = CaseKind.SYNTHETIC
    stores = [make_store(f"with-{of}", kind=kind, patients=(of,)) for of in ("stranger", "target-1", "child")]
    return CaseStore({path: card for store in stores for path, card in store.files.items()})


@pytest.fixture(scope="module")
def make_plan(make_store: MakeStore, heads: CaseStore) -> Callable[..., TransferPlan]:
    """A function that plans a study in a folder; keyword arguments replace parts of the plan."""
    target = make_store("target-1", "target-2")
    stores = {"target": target, "source": make_store("source-1", "source-2"), "synthetic": heads}
    extra = make_store("child")

    def make(folder: Path, **changes: object) -> TransferPlan:
        campaign = Campaign(
            recipe=RECIPE, source="phantoms", work=folder / "work", weights=folder / "out", rules=SILENT
        )
        held_out = HeldOutPlan(
            campaign=campaign,
            folds=deal(target.cards, 2),
            extra=extra,
            settings=RunSettings(overlap=0),
            rules="brats2021",
        )
        return TransferPlan(**{"held_out": held_out, **stores, **changes})  # type: ignore[arg-type]

    return make


@dataclass
class Heard:
    """What a run reported."""

    steps: list[str] = field(default_factory=list)
    cases: list[tuple[str, str, int]] = field(default_factory=list)

    def run(self, plan: TransferPlan) -> TransferStudy:
        return run_transfer_study(
            plan,
            device=torch.device("cpu"),
            watcher=FitWatcher(on_step=lambda name, _: self.steps.append(name)),
            on_case=lambda approach, card: self.cases.append((approach, card.case, card.fold)),
        )


@dataclass(frozen=True)
class Ran:
    """A study, its plan, and what it reported."""

    plan: TransferPlan
    study: TransferStudy
    heard: Heard

    def trained_on(self, approach: str, fold: int = 0) -> dict:
        """What the manifest of a fold says about the training of its first member."""
        return dict(read_manifest(self.plan.weights(approach, fold))[0].trained_on)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, make_plan: Callable[..., TransferPlan]) -> Ran:
    plan, heard = make_plan(tmp_path_factory.mktemp("study")), Heard()
    return Ran(plan, heard.run(plan), heard)


def test_every_approach_and_voice_has_a_row_in_the_order_of_the_study(ran: Ran) -> None:
    assert [row.name for row in ran.study.rows] == ROWS
    assert [row.target.name for row in ran.study.rows] == ROWS
    assert {tuple(case.case for case in row.target.cases) for row in ran.study.rows} == {("target-1", "target-2")}
    assert {tuple(case.case for case in row.extra.cases) for row in ran.study.rows if row.extra} == {("child",)}


def test_fits_and_steps_are_counted(ran: Ran) -> None:
    assert [row.n_fits for row in ran.study.rows] == [2, 1, 1, 2, 2, 2, 4, 1, 2]
    assert {row.steps for row in ran.study.rows} == {(2, 2)}
    assert ran.study.n_fits == 2 + 2 + 4 + 1 + 2
    assert len(ran.heard.steps) == 2 * ran.study.n_fits


def test_no_measured_patient_was_trained_on(ran: Ran) -> None:
    assert [ran.trained_on("scratch", fold)["cases"] for fold in (0, 1)] == [["target-2"], ["target-1"]]
    assert ran.trained_on("source")["cases"] == ["source-1", "source-2"]
    assert [ran.trained_on("TR", fold)["cases"] for fold in (0, 1)] == [["target-2"], ["target-1"]]
    assert [ran.trained_on("synthetic-then-real", fold)["cases"] for fold in (0, 1)] == [["target-2"], ["target-1"]]


def test_heads_with_a_measured_patient_s_tumour_are_left_out(ran: Ran) -> None:
    assert ran.plan.left_out == ("with-target-1", "with-child")
    about = ran.trained_on("synthetic")
    assert (about["cases"], about["n_synthetic"]) == ([], 1)


def test_fine_tuning_starts_from_the_weights_of_its_approach(ran: Ran) -> None:
    starts = {name: ran.trained_on(name)["start"] for name in ("scratch", "source", "TR", "synthetic-then-real")}
    assert starts["scratch"] == starts["source"] == "random weights"
    assert starts["TR"].startswith(f"{ran.plan.weights('source', 0).name}: unet")
    assert starts["synthetic-then-real"].startswith(f"{ran.plan.weights('synthetic', 0).name}: unet")
    assert len({start[-13:] for start in starts.values()}) == 3  # random ones twice


def test_fits_and_cases_are_reported_with_their_approach(ran: Ran) -> None:
    told = list(dict.fromkeys(ran.heard.steps))
    assert told[:4] == ["scratch fold 0 unet", "scratch fold 1 unet", "source unet", "source twin"]
    assert [case for case in ran.heard.cases if case[0] == "source"] == [
        ("source", name, 0) for name in ("target-1", "target-2", "child")
    ]


def test_a_finished_study_trains_and_segments_nothing_again(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a member was loaded")

    monkeypatch.setattr("htcnns.training.held_out.load_ensemble", fail)
    heard = Heard()
    assert heard.run(ran.plan) == ran.study
    assert heard.steps == []


def test_without_synthetic_heads_their_rows_are_left_out(
    tmp_path: Path, make_plan: Callable[..., TransferPlan]
) -> None:
    plan = make_plan(tmp_path, synthetic=CaseStore({}))
    one = replace(plan.held_out.campaign, recipe=replace(RECIPE, members=(UNET,)))
    study = Heard().run(replace(plan, held_out=replace(plan.held_out, campaign=one)))
    assert [row.name for row in study.rows] == ["scratch: unet", "source: unet", "TR: unet"]


@pytest.mark.parametrize("name", ["target-1", "child"])
def test_a_source_patient_who_is_measured_is_refused(
    tmp_path: Path, make_plan: Callable[..., TransferPlan], make_store: MakeStore, name: str
) -> None:
    source = make_store("other-name", patients=(name,))
    with pytest.raises(SettingsError, match="source_cases: other-name: same patient as a measured case"):
        make_plan(tmp_path, source=source)


def test_a_real_head_among_synthetic_ones_is_refused(
    tmp_path: Path, make_plan: Callable[..., TransferPlan], make_store: MakeStore
) -> None:
    with pytest.raises(SettingsError, match="synthetic_cases: real: not synthetic"):
        make_plan(tmp_path, synthetic=make_store("real"))


def test_heads_that_would_all_be_left_out_are_refused(
    tmp_path: Path, make_plan: Callable[..., TransferPlan], heads: CaseStore
) -> None:
    with pytest.raises(SettingsError, match="every head carries a tumour of a patient that is measured"):
        make_plan(tmp_path, synthetic=heads.only(["with-target-1", "with-child"]))


def test_a_name_in_two_populations_is_refused_before_anything_is_trained(
    tmp_path: Path, make_plan: Callable[..., TransferPlan], make_store: MakeStore
) -> None:
    with pytest.raises(InputError, match="source-1 is there twice"):
        make_plan(tmp_path, synthetic=make_store("source-1", kind=CaseKind.SYNTHETIC))


def test_weights_to_start_from_are_refused(tmp_path: Path, make_plan: Callable[..., TransferPlan]) -> None:
    whole = make_plan(tmp_path).held_out
    campaign = replace(whole.campaign, origin=tmp_path)
    with pytest.raises(SettingsError, match="origin: a transfer study trains the weights that it starts from"):
        make_plan(tmp_path, held_out=replace(whole, campaign=campaign))


def test_a_target_whose_truths_annotate_too_little_is_refused(
    tmp_path: Path, make_plan: Callable[..., TransferPlan], make_store: MakeStore
) -> None:
    target = make_store("target-1", "target-2", known=(Region.WT,))
    with pytest.raises(SettingsError, match="no case of the target population annotates every region"):
        make_plan(tmp_path, target=target)
