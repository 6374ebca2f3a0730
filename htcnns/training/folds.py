"""Which cases train which fit, and the fits in a row."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from htcnns.networks import SIZES, build_network
from htcnns.training.loop import StepReport, TrainSettings, fit
from htcnns.training.samples import TrainingCase

FOLDS = ("fold0", "fold1")
FITS = (*FOLDS, "all")  # the two folds are for measuring, "all" is what is shipped


def fold_of(names: Sequence[str]) -> dict[str, str]:
    """The fold that holds each case out: the sorted names, taken alternately."""
    return {name: FOLDS[i % len(FOLDS)] for i, name in enumerate(sorted(names))}


def trained_on(fit_name: str, names: Sequence[str]) -> list[str]:
    """The cases that a fit may see, sorted: all of them, or those that its fold does not hold out."""
    assert fit_name in FITS, f"{fit_name} would hold nothing out"
    held_out = fold_of(names)
    return sorted(name for name in names if held_out[name] != fit_name)


def run_fit(
    member: str,
    fit_name: str,
    cases: Sequence[TrainingCase],
    settings: TrainSettings,
    *,
    folder: Path,
    device: torch.device,
    on_step: Callable[[StepReport], None],
) -> nn.Module:
    """Train or resume one fit of the compact network of that name; the trained network, on `device`."""
    mine = replace(settings, seed=settings.seed + _number(member))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mine.seed)
        network = build_network(member, SIZES[member]["compact"]).to(device)
    allowed = set(trained_on(fit_name, [case.name for case in cases]))
    used = sorted((case for case in cases if case.name in allowed), key=lambda case: case.name)
    fit(network, used, mine, checkpoint=folder / f"{member}-{fit_name}.pt", on_step=on_step)
    return network


def _number(name: str) -> int:
    """A stable number for a name, so that members see different patches."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:2], "big")
