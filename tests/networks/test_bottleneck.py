"""Features at the lowest resolution, for every network."""

import pytest
import torch
from test_networks import TWO_TINY

from htcnns.networks import build_network
from htcnns.networks.bottleneck import bottleneck_means

each_network = pytest.mark.parametrize("name", TWO_TINY)


@each_network
def test_every_network_has_a_mean_per_channel(name: str, generator: torch.Generator) -> None:
    network = build_network(name, TWO_TINY[name]).eval()
    means = bottleneck_means(network, torch.randn(2, 4, 16, 16, 16, generator=generator))
    assert means.shape[0] == 2
    assert means.shape[1] in {TWO_TINY[name]["channels"][-1], TWO_TINY[name]["channels"][-2]}
    assert not torch.equal(means[0], means[1])
    assert not any(module._forward_hooks for module in network.modules())


def test_means_are_those_of_the_last_stage(generator: torch.Generator) -> None:
    network = build_network("unet", TWO_TINY["unet"]).eval()
    x = torch.randn(1, 4, 16, 16, 16, generator=generator)
    with torch.inference_mode():
        expected = network.encoder(x)[-1].mean((2, 3, 4))
    torch.testing.assert_close(bottleneck_means(network, x), expected)
