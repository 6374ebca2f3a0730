"""One fit: it learns, it resumes exactly, it refuses what it cannot go on with."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from prepared import phantom_case
from torch import nn

from htcnns.errors import SettingsError
from htcnns.files.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from htcnns.networks.unet import UNet
from htcnns.training.loop import Round, StepReport, TrainSettings, fit
from htcnns.training.samples import TrainingCase, Variety

FIRST = Round(4, n_warmup=2, patches=((0.0, 8), (0.5, 16)))
SECOND = Round(2, learning_rate=1e-3, n_warmup=1, patches=((0.0, 16),), variety=Variety(thick_share=0.5))
SETTINGS = TrainSettings((FIRST, SECOND), n_between=2)


class Unplugged(Exception):  # noqa: N818 - a power cut, not a mistake
    """The power went."""


@pytest.fixture(scope="module")
def cases() -> list[TrainingCase]:
    return [phantom_case("a", seed=1), phantom_case("b", seed=2)]


@pytest.fixture
def new_network() -> Callable[[], nn.Module]:
    """Makes the same untrained network each time."""

    def new() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            return UNet(channels=(4, 8), n_convs=(1, 1))

    return new


def unplug_at(step: int) -> Callable[[StepReport], None]:
    def on_step(report: StepReport) -> None:
        if report.step == step:
            raise Unplugged(f"at step {step}")

    return on_step


def ignore(_: StepReport) -> None:
    """Hears nothing."""


@pytest.mark.parametrize("last_step", [0, 1, 2, 4], ids=lambda step: f"after_step_{step}")
def test_a_fit_that_was_cut_off_ends_as_one_that_was_not(
    tmp_path: Path, cases: list[TrainingCase], new_network: Callable[[], nn.Module], last_step: int
) -> None:
    whole, first, second = new_network(), new_network(), new_network()
    fit(whole, cases, SETTINGS, checkpoint=tmp_path / "whole.pt", on_step=ignore)
    with pytest.raises(Unplugged, match=f"at step {last_step}"):
        fit(first, cases, SETTINGS, checkpoint=tmp_path / "cut.pt", on_step=unplug_at(last_step))
    fit(second, cases, SETTINGS, checkpoint=tmp_path / "cut.pt", on_step=ignore)
    torch.testing.assert_close(dict(second.state_dict()), dict(whole.state_dict()), rtol=0, atol=0)


def test_a_resumed_fit_starts_at_its_last_checkpoint(
    tmp_path: Path, cases: list[TrainingCase], new_network: Callable[[], nn.Module]
) -> None:
    with pytest.raises(Unplugged, match="at step 4"):
        fit(new_network(), cases, SETTINGS, checkpoint=tmp_path / "fit.pt", on_step=unplug_at(4))
    steps: list[int] = []
    fit(new_network(), cases, SETTINGS, checkpoint=tmp_path / "fit.pt", on_step=lambda r: steps.append(r.step))
    assert steps == [4, 5]


def test_a_finished_fit_gives_its_network_without_a_step(
    tmp_path: Path, cases: list[TrainingCase], new_network: Callable[[], nn.Module]
) -> None:
    trained, again = new_network(), new_network()
    fit(trained, cases, SETTINGS, checkpoint=tmp_path / "fit.pt", on_step=ignore)
    fit(again, cases, SETTINGS, checkpoint=tmp_path / "fit.pt", on_step=unplug_at(0))
    torch.testing.assert_close(dict(again.state_dict()), dict(trained.state_dict()), rtol=0, atol=0)


def test_a_fit_changes_every_weight(
    tmp_path: Path, cases: list[TrainingCase], new_network: Callable[[], nn.Module]
) -> None:
    trained, untrained = new_network(), new_network()
    fit(trained, cases, SETTINGS, checkpoint=tmp_path / "fit.pt", on_step=ignore)
    pairs = zip(trained.parameters(), untrained.parameters(), strict=True)
    assert not any(torch.equal(after, before) for after, before in pairs)


def test_the_last_step_is_kept_whatever_the_distance_of_checkpoints(
    tmp_path: Path, cases: list[TrainingCase], new_network: Callable[[], nn.Module]
) -> None:
    settings = replace(SETTINGS, rounds=(replace(FIRST, n_steps=3),))
    fit(new_network(), cases, settings, checkpoint=tmp_path / "fit.pt", on_step=ignore)
    assert read_checkpoint(tmp_path / "fit.pt").step == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight_decay": 0.5}, "made with other weight_decay; found 0.01, expected 0.5. Give another --work"),
        (
            {"rounds": (replace(FIRST, n_steps=7),)},
            "made with other rounds; found .*'n_steps': 4.*expected .*'n_steps': 7",
        ),
        ({"seed": 1, "clip_norm": 1.0}, "made with other clip_norm, seed; found 5.0, expected 1.0"),
    ],
    ids=str,
)
def test_a_checkpoint_of_another_recipe_is_refused(
    tmp_path: Path, cases: list[TrainingCase], new_network: Callable[[], nn.Module], change: dict, message: str
) -> None:
    fit(new_network(), cases, SETTINGS, checkpoint=tmp_path / "fit.pt", on_step=ignore)
    with pytest.raises(SettingsError, match=message):
        fit(new_network(), cases, replace(SETTINGS, **change), checkpoint=tmp_path / "fit.pt", on_step=ignore)


def test_a_checkpoint_of_other_cases_is_refused(
    tmp_path: Path, cases: list[TrainingCase], new_network: Callable[[], nn.Module]
) -> None:
    fit(new_network(), cases, SETTINGS, checkpoint=tmp_path / "fit.pt", on_step=ignore)
    with pytest.raises(SettingsError, match=r"made with other cases; found \['a', 'b'\], expected \['a'\]"):
        fit(new_network(), cases[:1], SETTINGS, checkpoint=tmp_path / "fit.pt", on_step=ignore)


def test_a_checkpoint_with_a_setting_that_no_longer_exists_is_refused(
    tmp_path: Path, cases: list[TrainingCase], new_network: Callable[[], nn.Module]
) -> None:
    path = tmp_path / "fit.pt"
    fit(new_network(), cases, SETTINGS, checkpoint=path, on_step=ignore)
    saved = read_checkpoint(path)
    write_checkpoint(path, Checkpoint(6, saved.recipe | {"momentum": 0.9}, saved.network, saved.optimizer))
    with pytest.raises(SettingsError, match=r"made with other momentum; found 0.9, expected None"):
        fit(new_network(), cases, SETTINGS, checkpoint=path, on_step=ignore)


def test_the_loss_falls_on_an_easy_phantom(
    tmp_path: Path, cases: list[TrainingCase], new_network: Callable[[], nn.Module]
) -> None:
    settings = TrainSettings((Round(120, learning_rate=2e-2, n_warmup=2, patches=((0.0, 16),)),), n_between=120)
    losses: list[float] = []
    fit(new_network(), cases, settings, checkpoint=tmp_path / "fit.pt", on_step=lambda r: losses.append(r.loss))
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_a_step_without_finite_gradients_is_not_taken(
    tmp_path: Path, cases: list[TrainingCase], new_network: Callable[[], nn.Module]
) -> None:
    network = new_network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    broken = [replace(case, array=np.full_like(case.array, np.nan)) for case in cases]
    fit(network, broken, SETTINGS, checkpoint=tmp_path / "fit.pt", on_step=ignore)
    torch.testing.assert_close(dict(network.state_dict()), before, rtol=0, atol=0)


def test_weights_that_have_diverged_are_not_saved(
    tmp_path: Path, cases: list[TrainingCase], new_network: Callable[[], nn.Module]
) -> None:
    network = new_network()
    nn.init.constant_(network.decoder.seg_layers[0].bias, float("nan"))
    with pytest.raises(FloatingPointError, match=r"seg_layers\.0\.bias is no longer finite"):
        fit(network, cases, SETTINGS, checkpoint=tmp_path / "fit.pt", on_step=ignore)
    assert not (tmp_path / "fit.pt").exists()


def test_patches_grow_when_their_share_of_the_steps_is_done() -> None:
    settings = Round(10, patches=((0.0, 64), (0.6, 96)))
    assert [settings.edge_at(step) for step in (0, 5, 6, 9)] == [64, 64, 96, 96]


def test_learning_rate_warms_up_and_falls_to_nothing() -> None:
    settings = Round(110, learning_rate=1.0, n_warmup=10)
    rates = [settings.learning_rate_at(step) for step in range(110)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[60] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-3


@pytest.mark.parametrize("n_steps", [0, -1])
def test_no_steps_are_refused(n_steps: int) -> None:
    with pytest.raises(SettingsError, match=f"--steps: {n_steps} is below 1. Give a positive number"):
        TrainSettings((Round(n_steps),))


def test_fits_shorter_than_their_warm_up_have_a_learning_rate() -> None:
    assert Round(1).learning_rate_at(0) > 0


def test_rounds_follow_each_other() -> None:
    found = [SETTINGS.round_at(step) for step in range(SETTINGS.n_steps)]
    assert found == [(FIRST, 0), (FIRST, 1), (FIRST, 2), (FIRST, 3), (SECOND, 0), (SECOND, 1)]


def test_after_the_last_round_there_is_no_step() -> None:
    with pytest.raises(IndexError, match="the fit ends 1 steps earlier"):
        SETTINGS.round_at(6)


def test_a_round_without_steps_is_passed_over() -> None:
    assert TrainSettings((FIRST, replace(FIRST, n_steps=0), SECOND)).round_at(4) == (SECOND, 0)


def test_a_first_round_alone_goes_the_same_way_as_with_a_second(
    tmp_path: Path, cases: list[TrainingCase], new_network: Callable[[], nn.Module]
) -> None:
    alone, both = new_network(), new_network()
    fit(alone, cases, replace(SETTINGS, rounds=(FIRST,)), checkpoint=tmp_path / "alone.pt", on_step=ignore)
    with pytest.raises(Unplugged, match="at step 4"):
        fit(both, cases, SETTINGS, checkpoint=tmp_path / "both.pt", on_step=unplug_at(4))
    saved = read_checkpoint(tmp_path / "both.pt")
    assert saved.step == 4
    torch.testing.assert_close(saved.network, dict(alone.state_dict()), rtol=0, atol=0)


def test_each_round_has_its_own_learning_rate(
    tmp_path: Path, cases: list[TrainingCase], new_network: Callable[[], nn.Module]
) -> None:
    still = replace(SETTINGS, rounds=(FIRST, replace(SECOND, learning_rate=0.0)))
    first, second = new_network(), new_network()
    fit(first, cases, replace(still, rounds=(FIRST,)), checkpoint=tmp_path / "first.pt", on_step=ignore)
    fit(second, cases, still, checkpoint=tmp_path / "second.pt", on_step=ignore)
    torch.testing.assert_close(dict(second.state_dict()), dict(first.state_dict()), rtol=0, atol=0)
