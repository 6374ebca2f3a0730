"""One fit: a network, some cases, a fixed number of steps; stops and resumes anywhere."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from htcnns.errors import SettingsError
from htcnns.files.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from htcnns.training.losses import deep_supervision
from htcnns.training.samples import TrainingCase, Variety, draw


@dataclass(frozen=True)
class Round:
    """A stretch of a fit: the learning rate warms up, then falls to nothing.

    Attributes:
        n_steps: patches seen, one a step.
        learning_rate: the highest; reached after the warm-up, then a cosine down to zero.
        n_warmup: steps of linear warm-up.
        patches: (share of the round's steps done, edge in voxels): small patches first, for more steps.
        variety: how patches are drawn and varied.
    """

    n_steps: int
    learning_rate: float = 1.5e-3
    n_warmup: int = 40
    patches: tuple[tuple[float, int], ...] = ((0.0, 64), (0.6, 96))
    variety: Variety = Variety()  # noqa: RUF009 - frozen

    def edge_at(self, step: int) -> int:
        """Edge of the patch at that step of the round."""
        return [edge for share, edge in self.patches if step >= share * self.n_steps][-1]

    def learning_rate_at(self, step: int) -> float:
        """Linear warm-up, then half a cosine."""
        if step < self.n_warmup:
            return self.learning_rate * (step + 1) / self.n_warmup
        done = (step - self.n_warmup) / max(1, self.n_steps - self.n_warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True)
class TrainSettings:
    """The recipe; folds and shipped weights share it.

    Attributes:
        rounds: one after the other, with the same optimizer.
        clip_norm: gradients are scaled down to this norm.
        n_between: steps between checkpoints.
        seed: of weights and patches; patches depend on it and the step alone, so a resumed fit goes the same way.
    """

    rounds: tuple[Round, ...]
    weight_decay: float = 1e-2
    clip_norm: float = 5.0
    n_between: int = 50
    seed: int = 2412

    def __post_init__(self) -> None:
        if self.n_steps < 1:
            raise SettingsError(f"--steps: {self.n_steps} is below 1. Give a positive number of steps.")

    @property
    def n_steps(self) -> int:
        """Of all rounds together."""
        return sum(each.n_steps for each in self.rounds)

    def round_at(self, step: int) -> tuple[Round, int]:
        """The round in which that step of the fit lies, and its number there.

        Raises:
            IndexError: the fit has fewer steps.
        """
        for each in self.rounds:
            if step < each.n_steps:
                return each, step
            step -= each.n_steps
        raise IndexError(f"the fit ends {step + 1} steps earlier")


@dataclass(frozen=True)
class StepReport:
    """What one step gave: its number, loss and duration."""

    step: int
    loss: float
    seconds: float


def fit(
    network: nn.Module,
    cases: list[TrainingCase],
    settings: TrainSettings,
    *,
    checkpoint: Path,
    on_step: Callable[[StepReport], None],
) -> None:
    """Train `network` in place on the device where it lives, going on from the checkpoint where there is one.

    Raises:
        SettingsError: the checkpoint was made with other settings or cases.
    """
    recipe = {**asdict(settings), "cases": [case.name for case in cases]}
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=settings.weight_decay)
    start = _resume(network, optimizer, recipe, checkpoint)
    network.to(memory_format=torch.channels_last_3d).train()  # type: ignore[call-overload]
    for step in range(start, settings.n_steps):
        began = time.perf_counter()
        now, step_of_round = settings.round_at(step)
        for group in optimizer.param_groups:
            group["lr"] = now.learning_rate_at(step_of_round)
        x, truth = _patch(cases, settings, step, device=next(network.parameters()).device)
        loss = _step(network, optimizer, x, truth, settings.clip_norm)
        on_step(StepReport(step, loss, time.perf_counter() - began))
        if (step + 1) % settings.n_between == 0 or step + 1 == settings.n_steps:
            _require_finite(network, where=str(checkpoint))
            write_checkpoint(checkpoint, Checkpoint(step + 1, recipe, network.state_dict(), optimizer.state_dict()))


def _require_finite(network: nn.Module, *, where: str) -> None:
    """Raise FloatingPointError rather than save weights that have diverged."""
    for name, parameter in network.named_parameters():
        if not torch.isfinite(parameter).all():
            raise FloatingPointError(f"{where}: {name} is no longer finite; the fit has diverged")


def _resume(network: nn.Module, optimizer: torch.optim.Optimizer, recipe: dict, path: Path) -> int:
    """Put the checkpoint's state into network and optimizer; the step to go on with."""
    saved = read_checkpoint(path)
    if saved is None:
        return 0
    if saved.recipe != recipe:
        changed = sorted(k for k in recipe.keys() | saved.recipe.keys() if saved.recipe.get(k) != recipe.get(k))
        raise SettingsError(
            f"{path}: was made with other {', '.join(changed)}; "
            f"found {saved.recipe.get(changed[0])}, expected {recipe.get(changed[0])}. Give another --work folder."
        )
    network.load_state_dict(saved.network)
    optimizer.load_state_dict(saved.optimizer)
    return saved.step


def _patch(
    cases: list[TrainingCase], settings: TrainSettings, step: int, *, device: torch.device
) -> tuple[Tensor, Tensor]:
    """The patch of that step as (1, 4, e, e, e) and (1, 3, e, e, e)."""
    rng = np.random.default_rng((settings.seed, step))
    now, step_of_round = settings.round_at(step)
    x, truth = draw(cases[int(rng.integers(len(cases)))], now.edge_at(step_of_round), rng, variety=now.variety)
    tensor = torch.from_numpy(x)[None].to(device, memory_format=torch.channels_last_3d)
    return tensor, torch.from_numpy(truth)[None].to(device)


def _step(network: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, truth: Tensor, clip_norm: float) -> float:
    """One update of the weights; the loss before it."""
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(x.device.type, torch.bfloat16):
        outputs = network.deep(x)  # type: ignore[operator]
    loss = deep_supervision(outputs, truth)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
    if torch.isfinite(norm):  # a bf16 step can overflow; taking it would lose the fit
        optimizer.step()
    return loss.item()
