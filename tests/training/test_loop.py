"""One fit learns, resumes exactly, and refuses what it cannot resume from."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from prepared import phantom_case, write_phantoms
from torch import nn

from htcnns.errors import OutputError, SettingsError
from htcnns.files.checkpoints import locked, read_checkpoint, write_checkpoint
from htcnns.files.curves import read_curves
from htcnns.files.prepared_cases import CaseKind, read_cards
from htcnns.labels import GLIOMA, SEQUENCES
from htcnns.networks.contract import Network
from htcnns.networks.transbts import TransBTS
from htcnns.networks.unet import UNet
from htcnns.training import fit_errors, loop
from htcnns.training.augment import Augmentation
from htcnns.training.batches import Batch, BatchSource, batch_source
from htcnns.training.cases import CaseStore
from htcnns.training.fit_plan import FitPlan
from htcnns.training.loop import fit
from htcnns.training.progress import Progress
from htcnns.training.recipes import MemberRecipe, Recipe, Round
from htcnns.training.validation import Validation

FIRST = Round(steps=4, warmup=2, patches=((0.0, (32, 32, 32)), (0.5, (32, 32, 48))))
SECOND = Round(
    steps=2, learning_rate=1e-3, warmup=1, patches=((0.0, (32, 32, 32)),), variety=Augmentation(thick_share=0.5)
)
UNET = MemberRecipe(name="unet", title="", network="unet", size="compact", rounds=(FIRST, SECOND))
RECIPE = Recipe(name="r", title="", members=(UNET,), precision="fp32", checkpoint_steps=2, average=0.9)
PLAN = FitPlan(recipe=RECIPE, member=UNET, n_cases=2)
ABOUT = {"recipe": "r", "cases": {"a": "1"}}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_pictures")]


class Unplugged(Exception):  # noqa: N818 - a power cut, not a mistake
    """The power failed."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> BatchSource:
    folder = tmp_path_factory.mktemp("cache")
    write_phantoms(folder, ["a", "b"])
    store = CaseStore(read_cards(folder))
    return batch_source(
        store,
        store.cards,
        mix={CaseKind.HEAD: 1.0},
        regions=GLIOMA,
        sequences=SEQUENCES,
        piece_patch=(32, 32, 32),
        seed=3,
    )


def new_network() -> Network:
    """The same untrained network each time."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return UNet(channels=(4, 8), n_convs=(1, 1))


def plan_of(*rounds: Round, **changes: object) -> FitPlan:
    return replace(PLAN, member=replace(UNET, rounds=rounds), recipe=replace(RECIPE, **changes))


def trained(source: BatchSource, folder: Path, plan: FitPlan = PLAN, **options: object) -> Network:
    """A network after a fit in that folder."""
    network = new_network()
    fit(network, source, plan, folder=folder, **{"made_with": ABOUT, **options})
    return network


def unplug_at(step: int) -> Callable[[Progress], None]:
    def on_step(progress: Progress) -> None:
        if progress.step == step:
            raise Unplugged(f"at step {step}")

    return on_step


def require_equal(one: nn.Module, other: nn.Module) -> None:
    torch.testing.assert_close(dict(one.state_dict()), dict(other.state_dict()), rtol=0, atol=0)


SLOW_STEPS = [pytest.param(step, marks=pytest.mark.slow) for step in (1, 2, 5)]


@pytest.mark.parametrize("n_workers", [0, 2])
@pytest.mark.parametrize("last_step", [*SLOW_STEPS, 3], ids=lambda step: f"after_step_{step}")
def test_an_interrupted_fit_ends_like_an_uninterrupted_one(
    tmp_path: Path, source: BatchSource, last_step: int, n_workers: int
) -> None:
    whole = trained(source, tmp_path / "whole")
    with pytest.raises(Unplugged, match=f"at step {last_step}"):
        trained(source, tmp_path / "cut", on_step=unplug_at(last_step), n_workers=n_workers)
    require_equal(trained(source, tmp_path / "cut", n_workers=n_workers), whole)
    curves = [read_curves(tmp_path / name / "curves.csv", up_to=99) for name in ("whole", "cut")]
    assert [point.step for point in curves[0]] == [2, 4, 6]
    assert [point.loss for point in curves[0]] == [point.loss for point in curves[1]]


@pytest.mark.slow
def test_a_fit_with_dropout_also_resumes_exactly(tmp_path: Path, source: BatchSource) -> None:
    def new() -> Network:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            size = {"channels": (4, 8, 8), "blocks": (0, 1, 1), "embedding": 8, "layers": 1, "heads": 2, "hidden": 16}
            return TransBTS(**size, edge=32, norm="instance", dropout=0.5)

    whole, first, second = new(), new(), new()
    fit(whole, source, PLAN, folder=tmp_path / "whole", made_with=ABOUT)
    with pytest.raises(Unplugged, match="at step 3"):
        fit(first, source, PLAN, folder=tmp_path / "cut", made_with=ABOUT, on_step=unplug_at(3))
    torch.manual_seed(12345)
    before = torch.get_rng_state()
    fit(second, source, PLAN, folder=tmp_path / "cut", made_with=ABOUT)
    require_equal(second, whole)
    torch.testing.assert_close(torch.get_rng_state(), before, rtol=0, atol=0)


def test_two_fits_of_one_seed_are_the_same(tmp_path: Path, source: BatchSource) -> None:
    require_equal(trained(source, tmp_path / "one"), trained(source, tmp_path / "other", n_workers=3))


def test_a_resumed_fit_starts_at_its_last_checkpoint(tmp_path: Path, source: BatchSource) -> None:
    with pytest.raises(Unplugged, match="at step 5"):
        trained(source, tmp_path, on_step=unplug_at(5))
    steps: list[int] = []
    trained(source, tmp_path, on_step=lambda progress: steps.append(progress.step))
    assert steps == [5, 6]


def test_a_finished_fit_loads_its_network_without_a_step(tmp_path: Path, source: BatchSource) -> None:
    first = trained(source, tmp_path)
    require_equal(trained(source, tmp_path, on_step=unplug_at(1)), first)


def test_a_fit_ends_with_its_average_weights_and_saves_the_last(tmp_path: Path, source: BatchSource) -> None:
    network = trained(source, tmp_path)
    saved = read_checkpoint(tmp_path / "checkpoint.pt")
    name = "encoder.stages.0.0.convs.0.conv.weight"
    assert torch.equal(network.state_dict()[name], saved.average[name])
    assert not torch.equal(network.state_dict()[name], saved.network[name])
    last = trained(source, tmp_path / "plain", replace(PLAN, recipe=replace(RECIPE, average=0.0)))
    assert torch.equal(last.state_dict()[name], saved.network[name])


def test_a_fit_changes_every_weight_that_is_not_frozen(tmp_path: Path, source: BatchSource) -> None:
    frozen = "encoder.stages.0.0.convs.0.conv.weight"
    network = trained(source, tmp_path, replace(PLAN, rates={frozen: 0.0}))
    pairs = zip(network.named_parameters(), new_network().parameters(), strict=True)
    assert [name for (name, after), before in pairs if torch.equal(after, before)] == [frozen]


@pytest.mark.slow
def test_lower_rates_change_less(tmp_path: Path, source: BatchSource) -> None:
    name = "decoder.transpconvs.0.weight"
    slow = trained(source, tmp_path / "slow", replace(PLAN, rates={name: 0.1})).state_dict()[name]
    fast = trained(source, tmp_path / "fast").state_dict()[name]
    before = new_network().state_dict()[name]
    assert 0 < (slow - before).abs().mean() < 0.2 * (fast - before).abs().mean()


@pytest.mark.slow
def test_adam_ends_with_other_weights_than_adamw(tmp_path: Path, source: BatchSource) -> None:
    adam = trained(source, tmp_path / "adam", replace(PLAN, recipe=replace(RECIPE, optimizer="adam")))
    adamw = trained(source, tmp_path / "adamw")
    assert not torch.equal(next(adam.parameters()), next(adamw.parameters()))


def test_half_precision_trains_too(tmp_path: Path, source: BatchSource) -> None:
    network = trained(source, tmp_path, replace(PLAN, recipe=replace(RECIPE, precision="bf16")))
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    assert all(torch.isfinite(parameter).all() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({**ABOUT, "recipe": "s"}, "work: .*checkpoint.pt: was made with other recipe; found r, expected s. Give anot"),
        ({**ABOUT, "cases": {}}, "was made with other cases; found a = 1, expected nothing"),
        ({}, "was made with other cases, recipe; found"),
        ({**ABOUT, "momentum": 1}, "was made with other momentum; found nothing, expected 1"),
    ],
    ids=["recipe", "cases", "both", "unknown"],
)
def test_a_checkpoint_of_something_else_is_refused(
    tmp_path: Path, source: BatchSource, about: dict, message: str
) -> None:
    trained(source, tmp_path)
    with pytest.raises(SettingsError, match=message):
        trained(source, tmp_path, made_with=about)


def test_a_fit_that_another_process_trains_is_refused(tmp_path: Path, source: BatchSource) -> None:
    with locked(tmp_path / "lock"), pytest.raises(OutputError, match="another process is training this fit"):
        trained(source, tmp_path)


def test_nothing_but_checkpoint_and_curves_is_left(tmp_path: Path, source: BatchSource) -> None:
    trained(source, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "curves.csv", "curves.png"]


@pytest.mark.slow
def test_the_loss_falls_on_an_easy_phantom(tmp_path: Path, source: BatchSource) -> None:
    easy = Round(steps=60, learning_rate=2e-2, warmup=2, patches=((0.0, (32, 32, 32)),))
    losses: list[float] = []
    plan = plan_of(easy, checkpoint_steps=60)
    trained(source, tmp_path, plan, on_step=lambda progress: losses.append(progress.loss))
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def spoilt(monkeypatch: pytest.MonkeyPatch, change: Callable[[Batch], Batch]) -> None:
    """Changes every batch before the fit sees it."""
    plain = BatchSource.draw
    monkeypatch.setattr(BatchSource, "draw", lambda *arguments: change(plain(*arguments)))


def test_a_loss_that_is_not_finite_stops_the_fit_and_saves_the_batch(
    tmp_path: Path, source: BatchSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt(monkeypatch, lambda batch: replace(batch, x=torch.full_like(batch.x, float("nan"))))
    with pytest.raises(
        SettingsError, match=r"recipe: unet: the loss of step 1 is nan; found a batch of [ab], saved in"
    ):
        trained(source, tmp_path)
    saved = torch.load(tmp_path / "not-finite-1-0.pt", weights_only=True)
    assert saved["names"][0] in "ab"
    assert torch.isnan(saved["x"]).all()
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_step_without_finite_gradients_is_not_taken(
    tmp_path: Path, source: BatchSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(float("inf")))
    taken: list[bool] = []
    network = trained(source, tmp_path, on_step=lambda progress: taken.append(progress.was_taken))
    require_equal(network, new_network())
    assert taken == [False] * 6
    assert [point.skipped for point in read_curves(tmp_path / "curves.csv", up_to=9)] == [2, 2, 2]


def test_a_fit_without_finite_gradients_is_given_up(
    tmp_path: Path, source: BatchSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn.utils, "clip_grad_norm_", lambda *_: torch.tensor(float("inf")))
    monkeypatch.setattr(fit_errors, "MOST_SKIPPED", 3)
    with pytest.raises(SettingsError, match="no finite gradient in 3 steps"):
        trained(source, tmp_path)


def test_weights_that_have_diverged_are_not_saved(tmp_path: Path, source: BatchSource) -> None:
    network = UNet(channels=(4, 8, 8), n_convs=(1, 1, 1))
    nn.init.constant_(network.decoder.seg_layers[0].bias, float("nan"))  # of the lowest head, which no loss sees
    with pytest.raises(SettingsError, match=r"unet: decoder\.seg_layers\.0\.bias is no longer finite"):
        fit(network, source, PLAN, folder=tmp_path, made_with=ABOUT)
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory: you")],
    ids=["gpu", "cpu"],
)
def test_too_little_memory_says_what_to_lower(
    tmp_path: Path, source: BatchSource, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(UNet, "deep", fail)
    message = r"recipe: unet: too little memory for step 1; found 1 patches of 32 x 32 x 32 voxels in fp32\. Set rec"
    with pytest.raises(SettingsError, match=message):
        trained(source, tmp_path)


def test_a_setting_already_in_use_is_not_advised(
    tmp_path: Path, source: BatchSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(UNet, "deep", fail)
    with pytest.raises(SettingsError, match=r"voxels in fp32\. Lower the batch, then"):
        trained(source, tmp_path, replace(PLAN, recipe=replace(RECIPE, recompute_activations=True)))


@pytest.mark.slow
def test_recomputed_activations_lead_to_the_same_weights(tmp_path: Path, source: BatchSource) -> None:
    again = trained(source, tmp_path / "again", replace(PLAN, recipe=replace(RECIPE, recompute_activations=True)))
    require_equal(again, trained(source, tmp_path / "plain"))


def test_other_errors_are_raised_unchanged(
    tmp_path: Path, source: BatchSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(UNet, "deep", fail)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        trained(source, tmp_path)


def test_every_step_is_reported(tmp_path: Path, source: BatchSource) -> None:
    heard: list[Progress] = []
    trained(source, tmp_path, on_step=heard.append)
    assert [(each.step, each.n_steps) for each in heard] == [(step, 6) for step in range(1, 7)]
    assert [each.learning_rate for each in heard] == [PLAN.at(step).learning_rate for step in range(6)]
    assert all(0 <= each.waited <= each.seconds for each in heard)
    assert heard[0].seconds_left > 0
    assert heard[-1].seconds_left == 0


@pytest.mark.parametrize(
    "change", [{"entropy_weight": 4.0}, {"empty_share": 0.2}], ids=lambda change: next(iter(change))
)
def test_the_loss_is_weighted_as_the_recipe_says(tmp_path: Path, source: BatchSource, change: dict[str, float]) -> None:
    losses = []
    without_et = replace(FIRST, steps=1, variety=Augmentation(quench_share=1.0))
    for plan in (plan_of(without_et), plan_of(without_et, **change)):
        heard: list[Progress] = []
        trained(source, tmp_path / str(len(losses)), plan, on_step=heard.append)
        losses.append(heard[0].loss)
    assert losses[0] != losses[1]


def test_rounds_follow_each_other() -> None:
    found = [(PLAN.at(step).round, PLAN.at(step).number) for step in range(PLAN.n_steps)]
    assert found == [(FIRST, 0), (FIRST, 1), (FIRST, 2), (FIRST, 3), (SECOND, 0), (SECOND, 1)]
    with pytest.raises(IndexError, match="step 6 of a fit of 6"):
        PLAN.at(6)


def test_remaining_work_is_counted_in_voxels_of_patches() -> None:
    each = [int(np.prod(PLAN.at(step).shape)) for step in range(6)]
    assert [PLAN.n_voxels(start) for start in range(7)] == [sum(each[start:]) for start in range(7)]


def test_epochs_count_the_cases_of_the_fit() -> None:
    plan = replace(plan_of(Round(epochs=3), batch=2), n_cases=11)
    assert plan.n_steps == 17


def test_a_first_round_is_the_same_with_and_without_a_second(tmp_path: Path, source: BatchSource) -> None:
    trained(source, tmp_path / "alone", plan_of(FIRST))
    with pytest.raises(Unplugged, match="at step 4"):
        trained(source, tmp_path / "both", on_step=unplug_at(4))
    alone, both = (read_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("alone", "both"))
    assert alone.step == both.step == 4
    torch.testing.assert_close(both.network, alone.network, rtol=0, atol=0)


def test_a_phantom_is_small_and_the_source_has_two_cases(source: BatchSource) -> None:
    assert phantom_case().n_bytes < 200_000
    assert source.n_cases == 2


def test_a_checkpoint_without_its_average_is_not_resumed(tmp_path: Path, source: BatchSource) -> None:
    trained(source, tmp_path)
    saved = read_checkpoint(tmp_path / "checkpoint.pt")
    write_checkpoint(tmp_path / "checkpoint.pt", replace(saved, average={}))
    with pytest.raises(KeyError):
        trained(source, tmp_path)


def test_the_validation_gets_the_averaged_weights(
    tmp_path: Path, source: BatchSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Network] = []
    monkeypatch.setattr(loop, "validate", lambda ensemble, *_: seen.append(ensemble.networks["unet"][0]) or [])
    network = trained(source, tmp_path, replace(PLAN, validation=Validation(store=source.store)))
    (measured,) = seen
    assert not measured.training
    require_equal(measured, network)
