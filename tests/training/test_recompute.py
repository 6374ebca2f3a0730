"""Recomputed activations: the same loss, gradients and statistics with less memory."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from htcnns.networks import build_network
from htcnns.networks.contract import Network
from htcnns.training.losses import deep_supervision
from htcnns.training.recompute import recomputed_blocks

pytestmark = pytest.mark.slow

TRANSBTS = {"channels": (4, 8, 8), "blocks": (0, 1, 1), "embedding": 8, "layers": 2, "heads": 2, "hidden": 16}
AXIAL = {"channels": (4, 8, 8), "n_convs": (1, 1, 1), "hidden": (8, 8), "heads": (2, 2), "edge": 32}
VNET = {"channels": (4, 8, 8), "n_convs": (1, 2), "n_convs_up": (1, 1), "dropout": 0.3}
DMFNET = {"channels": (8, 16, 16), "groups": 4, "mie": True, "sie": True}
SWIN = {"channels": (4, 4, 8, 8), "blocks": (1, 2), "heads": (2, 2), "attended": 3, "merging": "monai-1.5"}
SEGRESNET = {"channels": (4, 8, 8), "blocks": (1, 2, 1), "blocks_up": (1, 1), "groups": 2, "dropout": 0.2}
NETWORKS = {
    "unet": ("unet", {"channels": (4, 8, 8), "n_convs": (1, 2, 1)}),
    "res_unet": ("res_unet", {"channels": (4, 8, 8), "blocks": (1, 2, 1), "n_convs_up": (1, 1)}),
    "transbts": ("transbts", {**TRANSBTS, "edge": 32, "norm": "instance", "dropout": 0.3}),
    "axial_unet": ("axial_unet", {**AXIAL, "norm": "instance"}),
    "axial_unet with batch normalisation": ("axial_unet", {**AXIAL, "norm": "batch"}),
    "vnet": ("vnet", {**VNET, "norm": "instance"}),
    "vnet with batch normalisation": ("vnet", {**VNET, "norm": "batch"}),
    "dmfnet": ("dmfnet", {**DMFNET, "norm": "instance"}),
    "dmfnet with batch normalisation": ("dmfnet", {**DMFNET, "norm": "batch"}),
    "swin_unetr": ("swin_unetr", SWIN),
    "segresnet": ("segresnet", SEGRESNET),
}
each_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS, indirect=True)


@pytest.fixture
def network(request: pytest.FixtureRequest) -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return build_network(*request.param).train()


def after_a_step(network: Network, *, enabled: bool) -> tuple[float, dict[str, Tensor], dict[str, Tensor]]:
    """Loss, gradients and state of a copy of the network after a forward and a backward pass."""
    ours = copy.deepcopy(network)
    with torch.random.fork_rng():
        torch.manual_seed(2)
        x, truth = torch.randn(2, 4, 32, 32, 32), torch.rand(2, 3, 32, 32, 32) > 0.8
        with recomputed_blocks(ours, enabled=enabled):
            outputs = ours.deep(x)
        known = torch.ones(2, 3, dtype=torch.bool)
        loss = deep_supervision(outputs, truth, known, inside=None, n_known=6.0)
        loss.backward()
    return loss.item(), {name: each.grad for name, each in ours.named_parameters()}, dict(ours.state_dict())


@contextmanager
def bytes_kept() -> Iterator[list[int]]:
    """Sizes of the tensors that are kept for the backward pass inside the block."""
    sizes: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        sizes.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield sizes


@each_network
def test_gradients_are_those_of_a_plain_step(network: Network) -> None:
    plain, again = (after_a_step(network, enabled=enabled) for enabled in (False, True))
    assert again[0] == plain[0]
    torch.testing.assert_close(again[1], plain[1], rtol=0, atol=0)


@each_network
def test_running_statistics_count_each_batch_once(network: Network) -> None:
    plain, again = (after_a_step(network, enabled=enabled) for enabled in (False, True))
    torch.testing.assert_close(again[2], plain[2], rtol=0, atol=0)


@each_network
def test_less_than_half_of_the_activations_is_kept(network: Network) -> None:
    x = torch.randn(1, 4, 32, 32, 32)
    kept = []
    for enabled in (False, True):
        with bytes_kept() as sizes, recomputed_blocks(network, enabled=enabled):
            network.deep(x)
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 2


@each_network
def test_the_network_is_left_as_it_was(network: Network) -> None:
    with recomputed_blocks(network):
        assert all("forward" in vars(block) for block in network.blocks())
    assert not any("forward" in vars(each) for each in network.modules())
