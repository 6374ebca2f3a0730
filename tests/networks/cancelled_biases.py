"""Biases that the following normalisation cancels, so that no gradient reaches them."""

from torch import Tensor, nn

from htcnns.networks.blocks import NORMS
from htcnns.networks.contract import Network


def cancelled_biases(network: Network, x: Tensor) -> set[str]:
    """Names of the biases of convolutions whose output goes straight into a normalisation of each channel.

    Such a normalisation subtracts the mean of the channel, and with it whatever the bias added.
    """
    names = {module: name for name, module in network.named_modules()}
    made: dict[int, tuple[str, Tensor]] = {}  # the tensor is kept so that no other one gets its id
    found: set[str] = set()

    def remember(layer: nn.Module, _: object, output: Tensor) -> None:
        made[id(output)] = f"{names[layer]}.bias", output

    def look(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if id(inputs[0]) in made:
            found.add(made[id(inputs[0])][0])

    convolutions = [layer for layer in names if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d)]
    norms = [layer for layer in names if isinstance(layer, tuple(NORMS.values()))]
    hooks = [layer.register_forward_hook(remember) for layer in convolutions]
    hooks += [layer.register_forward_pre_hook(look) for layer in norms]
    network.deep(x)
    for hook in hooks:
        hook.remove()
    return found
