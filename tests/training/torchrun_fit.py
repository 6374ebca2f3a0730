"""A short fit by the processes that torchrun started; takes a folder of prepared cases and a work folder."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from htcnns.files.prepared_cases import CaseKind
from htcnns.labels import GLIOMA, SEQUENCES
from htcnns.networks.unet import UNet
from htcnns.training.augment import Augmentation
from htcnns.training.batches import batch_source
from htcnns.training.cases import open_store
from htcnns.training.fit_plan import FitPlan
from htcnns.training.loop import fit
from htcnns.training.recipes import MemberRecipe, Recipe, Round
from htcnns.training.team import Team, join_team

BATCH = 4


def train(cache: Path, work: Path, team: Team) -> dict[str, torch.Tensor]:
    """The unclipped gradients of the only step of a fit, by parameter."""
    each = Round(steps=1, patches=((0.0, (32, 32, 32)),), variety=Augmentation(transplant_share=0.5))
    member = MemberRecipe(name="unet", title="", network="unet", size="compact", rounds=(each,))
    recipe = Recipe(name="r", title="", members=(member,), precision="fp32", batch=BATCH, clip_norm=0.0)
    store = open_store([cache])
    source = batch_source(
        store,
        store.cards,
        mix={CaseKind.HEAD: 1.0},
        regions=GLIOMA,
        sequences=SEQUENCES,
        piece_patch=(32, 32, 32),
        seed=3,
    )
    torch.manual_seed(7)
    network = UNet(channels=(4, 8), n_convs=(1, 1))
    fit(network, source, FitPlan(recipe=recipe, member=member, n_cases=2), folder=work, made_with={}, team=team)
    return {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with join_team(torch.device("cpu")) as joined:
        gradients = train(Path(sys.argv[1]), Path(sys.argv[2]), joined)
        save_file(
            {k: v.contiguous() for k, v in gradients.items()}, Path(sys.argv[2]) / f"rank{joined.rank}.safetensors"
        )
