"""What networks cost, by hand and as published."""

import pytest
import torch
from torch import nn

from htcnns.errors import SettingsError
from htcnns.networks import NETWORKS, build_network
from htcnns.networks.cost import Cost, n_macs, n_parameters, network_cost
from htcnns.training.ablation import ablation_recipes
from htcnns.training.shipped_recipes import RECIPES


def test_a_convolution_by_hand() -> None:
    with torch.device("meta"):
        network = nn.Conv3d(4, 6, 3, padding=1)
    assert n_parameters(network) == 27 * 4 * 6 + 6
    assert n_macs(network, (4, 8, 9, 10)) == 27 * 4 * 6 * 8 * 9 * 10


def test_dmfnet_costs_what_was_published() -> None:
    """3.88 M parameters and, measured on the published code, 26.4 GMAC; the paper says 27.04 G."""
    cost = network_cost("dmfnet", NETWORKS["dmfnet"].sizes["published"], (128, 128, 128), n_out=4)
    assert cost == Cost(3_875_890, 26_362_773_504)


def test_rows_of_an_ablation_have_the_parameters_of_their_additions() -> None:
    sizes = {}
    with torch.device("meta"):
        for name, recipe in ablation_recipes(RECIPES["dmfnet-mie-sie-bsc"]).items():
            (member,) = recipe.members
            sizes[name] = n_parameters(build_network(member.network, member.arguments)) - 3_875_858
    assert sizes == {"baseline": 0, "+MIE": 2220, "+SIE": 36_192, "+BSC": 0, "all": 2220 + 36_192}


def test_a_window_that_does_not_fit_is_refused() -> None:
    with pytest.raises(SettingsError, match="the window cannot be halved"):
        network_cost("dmfnet", NETWORKS["dmfnet"].sizes["compact"], (100, 96, 96))
