"""A campaign trains every member, says where the weights come from, and refuses what it cannot honestly do."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from prepared import make_card, write_phantoms

from htcnns.errors import SettingsError, WeightsError
from htcnns.files.manifest import read_manifest
from htcnns.files.member import Member
from htcnns.files.toml_file import read_toml
from htcnns.files.weights import load_networks
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import REGION_SETS, Sequence
from htcnns.training import batches
from htcnns.training.campaign import Campaign, FitWatcher, train_set
from htcnns.training.cases import CaseStore, open_store
from htcnns.training.progress import Progress
from htcnns.training.recipe_text import recipe_of
from htcnns.training.recipes import MemberRecipe, Recipe, Round
from htcnns.training.samples import draw
from htcnns.training.transfer import TransferReport, TransferSettings

EACH = Round(steps=2, patches=((0.0, (16, 16, 32)),))
TRANSBTS_SIZE = {"channels": [4, 8], "blocks": [0, 1], "embedding": 8, "layers": 1, "heads": 2, "hidden": 16}
UNET = MemberRecipe(
    name="unet", title="U-Net", network="unet", size={"channels": [4, 8], "n_convs": [1, 1]}, rounds=(EACH,)
)
TRANSBTS = MemberRecipe(
    name="transbts",
    title="TransBTS",
    network="transbts",
    size={**TRANSBTS_SIZE, "edge": 16, "norm": "instance", "dropout": 0.1},
    rounds=(EACH,),
)
RECIPE = Recipe(
    name="short",
    title="two steps",
    members=(UNET, replace(TRANSBTS, name="second")),
    precision="fp32",
    sequences=(Sequence.T1C, Sequence.T2F),
    window=(16, 16, 32),
)
SOURCE = "phantoms, public domain"
CPU = torch.device("cpu")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CaseStore:
    folder = tmp_path_factory.mktemp("cache")
    write_phantoms(folder, ["a", "b"])
    return open_store([folder])


def campaign(folder: Path, **changes: object) -> Campaign:
    settings = {"recipe": RECIPE, "source": SOURCE, "work": folder / "work", "weights": folder / "weights", **changes}
    return Campaign(**settings)


def train(folder: Path, store: CaseStore, **changes: object) -> tuple[Member, ...]:
    return train_set(campaign(folder, **changes), store, store.cards, device=CPU)


@pytest.mark.parametrize("source", ["", "  \n"])
def test_the_source_of_the_data_must_be_given(tmp_path: Path, source: str) -> None:
    with pytest.raises(SettingsError, match="source: nothing given; expected what the data are and under which terms"):
        campaign(tmp_path, source=source)


def test_rules_for_other_regions_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="RC"):
        campaign(tmp_path, rules=PostprocessRules(thresholds={"RC": 0.4}))


@pytest.mark.parametrize("setting", [{"frozen_stages": 1}, {"early_rate": 0.5}], ids=["frozen stages", "early rate"])
def test_transfer_settings_without_weights_to_start_from_are_refused(tmp_path: Path, setting: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=f"^{next(iter(setting))}: has no effect without weights to start from"):
        campaign(tmp_path, transfer=TransferSettings(**setting))
    assert campaign(tmp_path, transfer=TransferSettings(**setting), origin=tmp_path).origin == tmp_path


def test_tuned_rules_and_scores_go_into_the_manifest_of_their_member(tmp_path: Path, store: CaseStore) -> None:
    rules, scores = PostprocessRules(thresholds={"WT": 0.8}), {"tuning": {"second": {"gain": 0.1}}}
    draft = replace(train(tmp_path / "draft", store)[1], rules=rules, scores=scores)
    first, second = train(tmp_path, store, tuned=(draft,))
    assert (first.rules, first.scores) == (PostprocessRules(), {})
    assert (second.rules, second.scores) == (rules, scores)
    assert read_manifest(tmp_path / "weights") == (first, second)


def test_tuned_rules_of_a_member_that_is_not_trained_are_refused(tmp_path: Path, store: CaseStore) -> None:
    strange = replace(train(tmp_path, store)[0], name="strange")
    with pytest.raises(SettingsError, match="tuned: unknown member 'strange'; expected one of unet, second"):
        campaign(tmp_path, tuned=(strange,))


def test_weights_manifest_and_recipe_are_written(tmp_path: Path, store: CaseStore) -> None:
    steps: list[tuple[str, int]] = []
    watcher = FitWatcher(on_step=lambda name, progress: steps.append((name, progress.step)))
    members = train_set(campaign(tmp_path), store, store.cards, device=CPU, watcher=watcher)
    assert steps == [("unet", 1), ("unet", 2), ("second", 1), ("second", 2)]
    read = read_manifest(tmp_path / "weights")
    assert [(each.name, each.files, each.regions) for each in read] == [(m.name, m.files, m.regions) for m in members]
    assert [each.trained_on for each in read] == [member.trained_on for member in members]
    for member in members:
        (network,) = load_networks(member)
        assert network(torch.zeros(1, 2, 16, 16, 32)).shape == (1, 3, 16, 16, 32)
    assert recipe_of(read_toml(tmp_path / "weights" / "recipe.toml"), place="x") == RECIPE
    names = {path.name for path in (tmp_path / "weights").iterdir()}
    assert names == {"unet.safetensors", "second.safetensors", "manifest.json", "recipe.toml"}


def test_the_manifest_says_where_weights_come_from(tmp_path: Path, store: CaseStore) -> None:
    cards = [*store.cards, make_card("c", known=())]
    first, second = train_set(campaign(tmp_path), store, cards, device=CPU)
    about = first.trained_on
    assert (about["source"], about["cases"], about["start"]) == (SOURCE, ["a", "b"], "random weights")
    assert (about["steps"], about["recipe"], about["seed"], about["n_synthetic"]) == (2, "short", RECIPE.seed, 0)
    assert about["rounds"][0]["steps"] == 2
    assert about["hours"] >= 0
    assert about["environment"]["torch"] == torch.__version__
    assert (second.name, second.network, second.sequences) == ("second", "transbts", RECIPE.sequences)
    assert second.window == (16, 16, 32)


def test_an_interrupted_campaign_resumes(tmp_path: Path, store: CaseStore) -> None:
    def unplug(name: str, _: Progress) -> None:
        if name == "second":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_set(campaign(tmp_path), store, store.cards, device=CPU, watcher=FitWatcher(on_step=unplug))
    assert not (tmp_path / "weights" / "manifest.json").exists()
    steps: list[str] = []
    watcher = FitWatcher(on_step=lambda name, _: steps.append(name))
    again = train_set(campaign(tmp_path), store, store.cards, device=CPU, watcher=watcher)
    assert steps == ["second", "second"]
    (tmp_path / "whole").mkdir()
    whole = train(tmp_path / "whole", store)
    assert [member.files[0].sha256 for member in again] == [member.files[0].sha256 for member in whole]


def test_training_only_some_members_writes_no_manifest(tmp_path: Path, store: CaseStore) -> None:
    assert train_set(campaign(tmp_path), store, store.cards, device=CPU, only=["second"]) == ()
    assert {path.name for path in (tmp_path / "weights").iterdir()} == {"second.safetensors"}
    with pytest.raises(SettingsError, match="members: unknown member 'third'"):
        train_set(campaign(tmp_path), store, store.cards, device=CPU, only=["third"])


def test_another_recipe_in_the_same_work_folder_is_refused(tmp_path: Path, store: CaseStore) -> None:
    train(tmp_path, store)
    with pytest.raises(SettingsError, match=r"work: .*unet/checkpoint\.pt: was made with other recipe; found"):
        train(tmp_path, store, recipe=replace(RECIPE, weight_decay=0.5))


def test_a_finished_fit_is_reused_if_a_recipe_changes_no_weight(tmp_path: Path, store: CaseStore) -> None:
    before = train(tmp_path, store)
    steps: list[str] = []
    other = replace(RECIPE, name="other", title="renamed", window=(32, 32, 32), recompute_activations=True)
    after = train_set(
        campaign(tmp_path, recipe=other),
        store,
        store.cards,
        device=CPU,
        watcher=FitWatcher(on_step=lambda name, _: steps.append(name)),
    )
    assert steps == []
    assert [member.files[0].sha256 for member in after] == [member.files[0].sha256 for member in before]
    assert {member.window for member in after} == {(32, 32, 32)}


def test_changed_cases_in_the_same_work_folder_are_refused(tmp_path: Path, store: CaseStore) -> None:
    train(tmp_path, store)
    changed = [replace(store.cards[0], key="ffffffff"), store.cards[1]]
    with pytest.raises(SettingsError, match="was made with other cases"):
        train_set(campaign(tmp_path), store, changed, device=CPU)


def test_weights_are_fine_tuned_for_other_sequences_and_regions(tmp_path: Path, store: CaseStore) -> None:
    train(tmp_path / "old", store)
    reports: dict[str, TransferReport] = {}
    recipe = replace(RECIPE, sequences=tuple(Sequence), regions=REGION_SETS["wt-tc-et-rc"])
    tuned = campaign(
        tmp_path / "new",
        recipe=recipe,
        origin=tmp_path / "old" / "weights",
        transfer=TransferSettings(frozen_stages=1, early_rate=0.5),
    )
    members = train_set(tuned, store, store.cards, device=CPU, watcher=FitWatcher(on_transfer=reports.__setitem__))
    assert set(reports) == {"unet", "second"}
    assert all(report.kept and report.reset for report in reports.values())
    assert re.fullmatch(r"weights: unet \([0-9a-f]{12}\)", members[0].trained_on["start"])
    assert members[0].outputs == recipe.regions.regions
    old, new = (load_networks(read_manifest(tmp_path / name / "weights")[0])[0].state_dict() for name in ("old", "new"))
    frozen, tuned_too = "encoder.stages.0.0.convs.0.norm.weight", "decoder.transpconvs.0.weight"
    torch.testing.assert_close(new[frozen], old[frozen], rtol=0, atol=0)
    assert not torch.equal(new[tuned_too], old[tuned_too])


def test_other_weights_to_start_from_are_refused_in_the_same_work_folder(tmp_path: Path, store: CaseStore) -> None:
    train(tmp_path / "old", store)
    train(tmp_path / "new", store)
    with pytest.raises(SettingsError, match="was made with other start; found random weights"):
        train(tmp_path / "new", store, origin=tmp_path / "old" / "weights")


def test_weights_that_lack_a_member_are_refused_before_any_training(tmp_path: Path, store: CaseStore) -> None:
    train(tmp_path / "old", store)
    recipe = replace(RECIPE, members=(UNET, replace(TRANSBTS, name="third")))
    with pytest.raises(SettingsError, match="members: unknown member 'third'; expected one of unet, second"):
        train(tmp_path / "new", store, recipe=recipe, origin=tmp_path / "old" / "weights")
    assert not (tmp_path / "new").exists()


def test_weights_of_another_network_are_refused(tmp_path: Path, store: CaseStore) -> None:
    train(tmp_path / "old", store)
    swapped = (replace(TRANSBTS, name="unet"), replace(UNET, name="second"))
    with pytest.raises(
        WeightsError, match=r"origin: .*unet: the weights are for another network; found unet, expected tra"
    ):
        train(tmp_path / "new", store, recipe=replace(RECIPE, members=swapped), origin=tmp_path / "old" / "weights")


def test_a_folder_without_weights_is_refused(tmp_path: Path, store: CaseStore) -> None:
    with pytest.raises(WeightsError, match=r"no manifest\.json there"):
        train(tmp_path, store, origin=tmp_path)


def test_a_member_trains_alike_in_every_folder_and_unlike_its_twin(tmp_path: Path, store: CaseStore) -> None:
    one = replace(RECIPE, members=(UNET, replace(UNET, name="twin")))
    first, twin = train(tmp_path / "one", store, recipe=one)
    alone = train(tmp_path / "alone", store, recipe=replace(RECIPE, members=(UNET,)))
    assert first.files[0].sha256 == alone[0].files[0].sha256 != twin.files[0].sha256


def test_a_recipe_with_echoes_draws_each_patch_once(
    tmp_path: Path, store: CaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    monkeypatch.setattr(batches, "draw", lambda *args, **how: drawn.append(1) or draw(*args, **how))
    member = replace(UNET, rounds=(replace(EACH, steps=16),))
    train(tmp_path, store, recipe=replace(RECIPE, members=(member,), echoes=2))
    assert len(drawn) == 8
