"""What a training step costs with everything on, against its bare passes; takes folders of packed cases (--cache)."""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from htcnns.networks import build_network
from htcnns.runs.devices import keep_freed_memory
from htcnns.training.cases import open_store
from htcnns.training.echoes import DISTANCE
from htcnns.training.fits import FitRequest, run_fit
from htcnns.training.losses import deep_supervision
from htcnns.training.own_recipes import COMPACT
from htcnns.training.progress import Progress
from htcnns.training.recipes import Recipe

CUBE = (96, 96, 96)
CYCLE = COMPACT.echoes * DISTANCE  # steps over which every drawn patch is shown as often as it will be
WARMUP = 3  # steps that are not counted: kernels are chosen, the first patches are awaited


def recipe_of(n_steps: int) -> Recipe:
    """The compact U-Net's last round alone, in cubes."""
    member = COMPACT.member("unet")
    last = replace(member.rounds[-1], steps=n_steps, warmup=0, patches=((0.0, CUBE),))
    return replace(COMPACT, members=(replace(member, rounds=(last,)),), checkpoint_steps=n_steps, piece_patch=CUBE)


class BarePasses:
    """Forward and backward passes on one random patch, with nothing around them."""

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(1)
        member = recipe.members[0]
        self._network = build_network(member.network, member.arguments).to(memory_format=torch.channels_last_3d)
        self._x = torch.randn(1, 4, *CUBE).contiguous(memory_format=torch.channels_last_3d)
        self._truth = torch.rand(1, 3, *CUBE) > 0.9
        self._known = torch.ones(1, 3, dtype=torch.bool)

    def seconds(self) -> float:
        """How long one forward and backward pass takes now."""
        began = time.perf_counter()
        self._network.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = self._network.deep(self._x)
        deep_supervision(outputs, self._truth, self._known).backward()
        return time.perf_counter() - began


class InTurn:
    """Times whole steps of a fit and bare passes in turn, as the speed of a machine varies."""

    def __init__(self, recipe: Recipe) -> None:
        self._passes = BarePasses(recipe)
        self.full: list[float] = []
        self.bare: list[float] = []
        self._began = time.perf_counter()

    def __call__(self, _: Progress) -> None:
        self.full.append(time.perf_counter() - self._began)
        self.bare.append(self._passes.seconds())
        self._began = time.perf_counter()


def measured(recipe: Recipe, caches: list[Path], n_workers: int) -> InTurn:
    """Steps of a fit as `train` takes them, and bare passes between them."""
    store, timer = open_store(caches), InTurn(recipe)
    for card in store.cards:  # as after the first steps of a fit, as far as the store keeps them
        store[card.name]
    with tempfile.TemporaryDirectory() as work:
        request = FitRequest(recipe=recipe, member="unet", cards=store.cards, folder=Path(work))
        run_fit(request, store, device=torch.device("cpu"), on_step=timer, n_workers=n_workers)
    return timer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, action="append", required=True, help="folder of packed cases")
    parser.add_argument("--cycles", type=int, default=3, help="how often every drawn patch is drawn and shown")
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    keep_freed_memory()  # as `htcnns train` does
    timer = measured(recipe_of(WARMUP + options.cycles * CYCLE), options.cache, options.workers)
    full, bare = statistics.mean(timer.full[WARMUP:]), statistics.mean(timer.bare[WARMUP:])
    print(f"forward and backward {bare:.3f} s, a step of training {full:.3f} s, in turn {options.cycles * CYCLE} times")
    print(f"a step costs {full / bare:.3f} times its passes; at most 1.10 is wanted")


if __name__ == "__main__":
    main()
