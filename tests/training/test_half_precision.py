"""A network that has learnt a phantom marks almost the same voxels in half precision."""

import numpy as np
import pytest
import torch
from torch import Tensor

from htcnns.image.phantom import make_phantom
from htcnns.labels import GLIOMA
from htcnns.networks import NETWORKS, build_network
from htcnns.networks.contract import Network
from htcnns.scores.metrics import dice
from htcnns.training.losses import region_losses

N_STEPS = 40  # after these every region is marked; with random weights the masks would be rounding errors
LEAST_DICE = 0.99


def phantom_patch() -> tuple[Tensor, Tensor]:
    """A phantom of 32 voxels a side, (1, 4, I, J, K) with mean 0 and deviation 1, and its regions, (1, 3, I, J, K)."""
    phantom = make_phantom((32, 32, 32), seed=1)
    x = torch.from_numpy(phantom.sequences)
    deviations, means = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
    masks = [np.isin(phantom.truth, region.value) for region in GLIOMA.regions]
    return ((x - means) / deviations)[None], torch.from_numpy(np.stack(masks))[None]


def learnt(name: str, x: Tensor, truth: Tensor) -> Network:
    """The compact network after a few steps on that patch alone."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = build_network(name, NETWORKS[name].sizes["compact"]).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(N_STEPS):
        optimizer.zero_grad()
        region_losses(network(x), truth).mean().backward()
        optimizer.step()
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vnet", "dmfnet"])
def test_masks_in_half_and_full_precision_agree(name: str) -> None:
    x, truth = phantom_patch()
    network = learnt(name, x, truth)
    with torch.inference_mode():
        full = network(x)[0] > 0
        with torch.autocast("cpu", torch.bfloat16):
            half = network(x)[0] > 0
    assert full.flatten(1).any(1).all()
    assert min(dice(ours.numpy(), other.numpy()) for ours, other in zip(half, full, strict=True)) >= LEAST_DICE
