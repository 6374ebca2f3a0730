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
from htcnns.training.batches import Batch
from htcnns.training.cases import open_store
from htcnns.training.fits import FitRequest, run_fit
from htcnns.training.losses import deep_supervision
from htcnns.training.progress import Progress
from htcnns.training.recipes import Recipe
from htcnns.training.shipped_recipes import COMPACT

CUBE = (96, 96, 96)
WARMUP = 3  # steps that are not counted: kernels are chosen, the first patches are awaited


def recipe_of(n_steps: int) -> Recipe:
    """The compact U-Net's last round alone, in cubes."""
    member = COMPACT.member("unet")
    last = replace(member.rounds[-1], steps=n_steps, warmup=0, patches=((0.0, CUBE),))
    return replace(COMPACT, members=(replace(member, rounds=(last,)),), checkpoint_steps=n_steps, piece_patch=CUBE)


def bare_seconds(recipe: Recipe, n_steps: int) -> list[float]:
    """Forward and backward passes on the same random patch, with nothing around them."""
    torch.manual_seed(1)
    network = recipe.members[0]
    batch = Batch(
        x=torch.randn(1, 4, *CUBE).contiguous(memory_format=torch.channels_last_3d),
        truth=torch.rand(1, 3, *CUBE) > 0.9,
        known=torch.ones(1, 3, dtype=torch.bool),
        inside=None,
        names=("noise",),
    )
    net = build_network(network.network, network.arguments).to(memory_format=torch.channels_last_3d)
    seconds = []
    for _ in range(n_steps):
        began = time.perf_counter()
        net.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = net.deep(batch.x)
        deep_supervision(outputs, batch.truth, batch.known).backward()
        seconds.append(time.perf_counter() - began)
    return seconds[WARMUP:]


def full_steps(recipe: Recipe, caches: list[Path], n_workers: int) -> list[Progress]:
    """Steps of a fit as `train` takes them."""
    store, steps = open_store(caches), []
    with tempfile.TemporaryDirectory() as work:
        request = FitRequest(recipe=recipe, member="unet", cards=store.cards, folder=Path(work))
        run_fit(request, store, device=torch.device("cpu"), on_step=steps.append, n_workers=n_workers)
    return steps[WARMUP:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, action="append", required=True, help="folder of packed cases")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    keep_freed_memory()  # as `htcnns train` does
    recipe = recipe_of(options.steps)
    before = bare_seconds(recipe, options.steps)
    steps = full_steps(recipe, options.cache, options.workers)
    after = bare_seconds(recipe, options.steps)
    bare = statistics.median([*before, *after])
    full, waited = (statistics.mean(getattr(step, name) for step in steps) for name in ("seconds", "waited"))
    print(f"forward and backward {bare:.3f} s, a step of training {full:.3f} s, of which waiting {waited:.3f} s")
    print(f"a step costs {full / bare:.3f} times its passes; at most 1.10 is wanted")


if __name__ == "__main__":
    main()
