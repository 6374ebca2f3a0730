"""An exponential moving average of a network's weights."""

import torch
from torch import Tensor, nn


class WeightAverage:
    """The moving average of a network's parameters.

    Args:
        network: network whose parameters are averaged; the average starts from their values.
        decay: weight of the old average in each update; lower in the first steps, so that initial values are forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self._mean = {name: each.detach().clone() for name, each in network.named_parameters()} if decay else {}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Update the average with the weights after that step; does nothing if the decay is 0."""
        if self._mean:
            kept = min(self._decay, (1 + step) / (10 + step))
            parameters = dict(network.named_parameters())
            torch._foreach_lerp_(list(self._mean.values()), [parameters[name] for name in self._mean], 1 - kept)

    @torch.no_grad()
    def put_into(self, network: nn.Module) -> None:
        """Replace the network's parameters by their average; does nothing if the decay is 0."""
        for name, parameter in network.named_parameters():
            if name in self._mean:
                parameter.copy_(self._mean[name])

    def state(self) -> dict[str, Tensor]:
        """The average by parameter name, for a checkpoint."""
        return dict(self._mean)

    def load(self, state: dict[str, Tensor]) -> None:
        """Restore the average from a checkpoint."""
        for name, mean in self._mean.items():
            mean.copy_(state[name])
