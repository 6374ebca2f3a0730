"""One fit: a network, some cases, a fixed number of steps; can be stopped and resumed at any time."""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from htcnns.errors import SettingsError
from htcnns.files.checkpoints import Checkpoint, locked, read_checkpoint, write_checkpoint
from htcnns.files.curves import CaseDice
from htcnns.files.tensorboard import event_file
from htcnns.networks.contract import Network
from htcnns.runs.devices import choose_precision
from htcnns.runs.ensemble import Ensemble
from htcnns.training.ahead import made_ahead, made_in_gaps
from htcnns.training.average import WeightAverage
from htcnns.training.batches import Batch, BatchSource
from htcnns.training.echoes import DISTANCE
from htcnns.training.fit_errors import (
    is_out_of_memory,
    require_finite_loss,
    require_finite_weights,
    require_progress,
    require_same,
    too_little_memory,
)
from htcnns.training.fit_plan import FitPlan
from htcnns.training.losses import deep_supervision
from htcnns.training.members import recipe_member
from htcnns.training.progress import Clock, Progress
from htcnns.training.recompute import recomputed_blocks
from htcnns.training.record import Record
from htcnns.training.team import Team
from htcnns.training.validation import mean_dice, validate

CHECKPOINT, LOCK = "checkpoint.pt", "lock"
BATCHES_AHEAD = 3  # batches being drawn or waiting, per worker


def fit(
    network: Network,
    source: BatchSource,
    plan: FitPlan,
    *,
    folder: Path,
    made_with: dict[str, Any],
    on_step: Callable[[Progress], None] = lambda _: None,
    team: Team = Team(),  # noqa: B008 - frozen
    n_workers: int = 1,
) -> None:
    """Train `network` in place on the device where it lives, resuming from the folder's checkpoint if there is one.

    At the end its weights are replaced by their moving average, if the recipe has one.

    Args:
        folder: folder for checkpoint.pt, curves.csv and .png, validation.csv if the plan has a validation, TensorBoard
            events if it is installed and, if the loss is not finite, the batch that caused it.
        made_with: plain data that must be the same when the fit is resumed.
        on_step: called with the progress after every step, in the leading process only.
        team: processes that train together and share the folder.
        n_workers: number of threads that draw patches ahead; 0 draws them between the steps.

    Raises:
        SettingsError: the checkpoint was made with other settings or cases, the loss, the weights or too many
            gradients in a row are not finite, or memory runs out.
        DeviceError: fp16 on a CPU, or validation cases that cannot be segmented.
        OutputError: another process is training this fit, or the folder cannot be written.
    """
    run = _start(network, plan, team, made_with)
    with locked(folder / LOCK) if team.leads else nullcontext():
        _train(run, source, folder, on_step, n_workers)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """The parts of a fit in this process."""

    network: Network
    plan: FitPlan
    team: Team
    made_with: dict[str, Any]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: WeightAverage
    device: torch.device
    precision: torch.dtype

    @property
    def trained(self) -> list[nn.Parameter]:
        """The parameters that are not frozen."""
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]


def _start(network: Network, plan: FitPlan, team: Team, made_with: dict[str, Any]) -> _Run:
    device = next(network.parameters()).device
    precision = choose_precision(plan.recipe.precision, device)
    network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return _Run(
        network=network,
        plan=plan,
        team=team,
        made_with=made_with,
        optimizer=_optimizer(network, plan),
        scaler=torch.amp.GradScaler(device.type, enabled=precision == torch.float16),
        average=WeightAverage(network, plan.recipe.average),
        device=device,
        precision=precision,
    )


def _optimizer(network: nn.Module, plan: FitPlan) -> torch.optim.Optimizer:
    """The optimizer, with a group of parameters for each learning rate; frozen parameters are in none."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        rate = plan.rates.get(name, 1.0)
        parameter.requires_grad_(rate > 0)
        if rate > 0:
            groups.setdefault(rate, []).append(parameter)
    kind = torch.optim.AdamW if plan.recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(
        [{"params": parameters, "factor": rate} for rate, parameters in groups.items()],
        weight_decay=plan.recipe.weight_decay,
        fused=True,  # on a CPU half the time of updating one parameter after another
    )


def _train(run: _Run, source: BatchSource, folder: Path, on_step: Callable[[Progress], None], n_workers: int) -> None:
    """Take the remaining steps, with checkpoints at intervals and after the last."""
    start = _resume(run, folder / CHECKPOINT)
    with event_file(folder, after=start) if run.team.leads else nullcontext(None) as event:
        record = Record(folder, run.plan, start=start, event=event) if event else None
        for progress, cases in _steps(run, _batches(run, source, start, n_workers), start, folder):
            is_saved = run.plan.saves_after(progress.step)
            if record:
                record.add(progress, cases)
                if is_saved:
                    write_checkpoint(folder / CHECKPOINT, _checkpoint(run, progress.step))
                    record.write()
            if is_saved:
                run.team.wait()
            if record:
                on_step(progress)
    run.average.put_into(run.network)


def _steps(run: _Run, batches: Iterable[Batch], start: int, folder: Path) -> Iterator[tuple[Progress, list[CaseDice]]]:
    """Take the steps, yielding the progress of each and the Dice of the validation cases if scored after it."""
    plan = run.plan
    run.network.train()
    clock, n_skipped = Clock(plan), 0
    for step, batch in enumerate(batches, start):
        clock.has_batch()
        for group in run.optimizer.param_groups:
            group["lr"] = plan.at(step).learning_rate * group["factor"]
        loss, was_taken = _guarded_step(run, batch, step, folder)
        n_skipped = 0 if was_taken else n_skipped + 1
        require_progress(plan, n_skipped)
        progress = clock.tick(step, loss, was_taken=was_taken)
        if plan.saves_after(step + 1):
            require_finite_weights(plan, run.network)
        cases = _looked_at(run, step + 1)
        clock.go_on()
        yield replace(progress, dice=mean_dice(cases)), cases


def _batches(run: _Run, source: BatchSource, start: int, n_workers: int) -> Iterator[Batch]:
    slots = run.team.slots(run.plan.recipe.batch)

    def draw(step: int) -> Batch:
        there = run.plan.at(step)
        return source.draw(step, there.shape, there.round.variety, slots)

    steps = range(start, run.plan.n_steps)
    if run.device.type == "cpu":
        n_threads = n_workers and min(DISTANCE, max(n_workers, torch.get_num_threads()))
        return made_in_gaps(draw, steps, n_workers=n_threads, n_at_once=DISTANCE)
    return made_ahead(draw, steps, n_workers=n_workers, n_ahead=BATCHES_AHEAD * max(1, n_workers))


def _guarded_step(run: _Run, batch: Batch, step: int, folder: Path) -> tuple[float, bool]:
    """Try one step and return its loss and whether it was taken; errors are raised in terms of the recipe."""
    try:
        loss, was_taken = _step(run, batch.to(run.device), step)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise too_little_memory(run.plan, batch, step) from error
    path = folder / f"not-finite-{step + 1}-{run.team.rank}.pt"
    require_finite_loss(loss, run.plan, batch, step=step, path=path)
    return loss, was_taken


def _step(run: _Run, batch: Batch, step: int) -> tuple[float, bool]:
    """Update the weights if loss and gradient are finite; return the loss over all processes, and whether they are."""
    recipe, team = run.plan.recipe, run.team
    run.optimizer.zero_grad(set_to_none=True)
    n_known = team.total(float(batch.known.sum()), run.device)
    with _random_numbers_of(step, run):
        with (
            torch.autocast(run.device.type, run.precision, enabled=run.precision != torch.float32),
            recomputed_blocks(run.network, enabled=recipe.recompute_activations),
        ):
            outputs = run.network.deep(batch.x)
        loss = deep_supervision(
            outputs,
            batch.truth,
            batch.known,
            inside=batch.inside,
            keys=batch.keys,
            n_known=n_known,
            weights=recipe.loss_weights,
        )
        run.scaler.scale(loss).backward()
    total = team.total(loss.item(), run.device)
    if not isfinite(total):
        return total, False
    team.add_gradients(run.trained)
    run.scaler.unscale_(run.optimizer)
    norm = nn.utils.clip_grad_norm_(run.trained, recipe.clip_norm or float("inf"))
    was_taken = bool(torch.isfinite(norm))  # a step in half precision can overflow; taking it would ruin the fit
    if was_taken:
        run.scaler.step(run.optimizer)
        run.average.update(run.network, step)
    run.scaler.update()
    return total, was_taken


@contextmanager
def _random_numbers_of(step: int, run: _Run) -> Iterator[None]:
    """Random numbers of a step (dropout), the same in a resumed fit; the caller's random state is left unchanged."""
    seed = np.random.SeedSequence((run.plan.recipe.seed, step, run.team.rank)).generate_state(1)
    with torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []):
        torch.manual_seed(int(seed[0]))
        yield


def _looked_at(run: _Run, step: int) -> list[CaseDice]:
    """Dice of the validation cases with the averaged weights; empty unless a validation is due after that step."""
    plan = run.plan
    if plan.validation is None or not plan.validation.is_due(step, plan.n_steps):
        return []
    network = copy.deepcopy(run.network).eval()
    run.average.put_into(network)
    member = recipe_member(plan.recipe, plan.member.name)
    ensemble = Ensemble(
        members=(member,), networks={member.name: [network]}, device=run.device, precision=run.precision
    )
    return validate(ensemble, plan.validation, step, run.team)


def _checkpoint(run: _Run, step: int) -> Checkpoint:
    return Checkpoint(
        step=step,
        made_with=run.made_with,
        network=run.network.state_dict(),
        optimizer=run.optimizer.state_dict(),
        scaler=run.scaler.state_dict(),
        average=run.average.state(),
    )


def _resume(run: _Run, path: Path) -> int:
    """Load the checkpoint's state into the run and return the step to continue with, the same in every process."""
    saved = read_checkpoint(path)
    start = saved.step if saved else 0
    if saved:
        require_same(saved.made_with, run.made_with, path)
        run.network.load_state_dict(saved.network)
        run.optimizer.load_state_dict(saved.optimizer)
        run.scaler.load_state_dict(saved.scaler)
        run.average.load(saved.average)
    if run.team.total(start, run.device) != start * run.team.size:
        raise SettingsError(
            "the processes do not see the same checkpoint",
            setting="work",
            place=path,
            remedy="Give a folder that all hosts share.",
        )
    return start
