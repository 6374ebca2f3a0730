"""What can end a fit, reported in terms of its recipe."""

from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import nn

from htcnns.errors import SettingsError
from htcnns.files.checkpoints import write_tensors
from htcnns.training.batches import Batch
from htcnns.training.fit_plan import FitPlan
from htcnns.volume import size_text

MOST_SKIPPED = 20  # steps in a row without a finite gradient after which a fit is given up


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether the error means that the device or the machine is out of memory."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def too_little_memory(plan: FitPlan, batch: Batch, step: int) -> SettingsError:
    """The error for a fit that ran out of memory in that step."""
    recipe = plan.recipe
    lower = "the batch, then the edges of its patches, or take a smaller size of the network"
    return SettingsError(
        f"too little memory for step {step + 1}",
        setting="recipe",
        place=plan.member.name,
        found=f"{len(batch.x)} patches of {size_text(batch.x.shape[2:])} voxels in {recipe.precision}",
        remedy=f"Lower {lower}."
        if recipe.recompute_activations
        else f"Set recompute_activations = true in the recipe; if that is not enough, lower {lower}.",
    )


def require_finite_loss(loss: float, plan: FitPlan, batch: Batch, *, step: int, path: Path) -> None:
    """Raise SettingsError if the loss is not finite, after writing the batch to `path`."""
    if isfinite(loss):
        return
    write_tensors(path, {"x": batch.x, "truth": batch.truth, "known": batch.known, "names": list(batch.names)})
    raise SettingsError(
        f"the loss of step {step + 1} is {loss}",
        setting="recipe",
        place=plan.member.name,
        found=f"a batch of {', '.join(batch.names)}, saved in {path}",
        expected="a finite number",
        remedy="Look at these cases; if nothing is wrong with them, lower the learning rate.",
    )


def require_progress(plan: FitPlan, n_skipped: int) -> None:
    """Raise SettingsError if so many steps in a row were skipped that the fit makes no progress."""
    if n_skipped >= MOST_SKIPPED:
        raise SettingsError(
            f"no finite gradient in {n_skipped} steps",
            setting="recipe",
            place=plan.member.name,
            expected="at least one",
            remedy="Lower the learning rate, or use precision fp32.",
        )


def require_finite_weights(plan: FitPlan, network: nn.Module) -> None:
    """Raise SettingsError rather than save weights that have diverged."""
    for name, parameter in network.named_parameters():
        if not torch.isfinite(parameter).all():
            raise SettingsError(
                f"{name} is no longer finite",
                setting="recipe",
                place=plan.member.name,
                remedy="Lower the learning rate; the last checkpoint is still good.",
            )


def require_same(saved: dict[str, Any], now: dict[str, Any], path: Path) -> None:
    """Raise SettingsError if a checkpoint was made with other settings or cases; the first difference is named."""
    changed = sorted(key for key in now.keys() | saved.keys() if saved.get(key) != now.get(key))
    if changed:
        place, found, expected = _first_difference(saved.get(changed[0]), now.get(changed[0]))
        raise SettingsError(
            f"was made with other {', '.join(changed)}",
            setting="work",
            place=path,
            found=f"{place.lstrip('.')} = {found}" if place else found,
            expected=expected,
            remedy="Give another work folder, or remove this fit to start it again.",
        )


def _first_difference(one: Any, other: Any) -> tuple[str, Any, Any]:
    """The place where plain data first differ, such as ".members[0].network", and both values there."""
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = [(f".{key}", one.get(key), other.get(key)) for key in (one | other)]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = [(f"[{number}]", a, b) for number, (a, b) in enumerate(zip(one, other, strict=True))]
    else:
        return "", "nothing" if one is None else one, "nothing" if other is None else other
    place, a, b = next(pair for pair in pairs if pair[1] != pair[2])
    inner, found, expected = _first_difference(a, b)
    return place + inner, found, expected
