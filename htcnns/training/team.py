"""Several processes that train one fit together, started by PyTorch's torchrun; a single process is a team of one."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from htcnns.errors import SettingsError


@dataclass(frozen=True)
class Team:
    """The processes of a fit.

    Attributes:
        rank: number of this process; 0 writes files.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    def slots(self, batch: int) -> range:
        """The patches of a batch that this process takes, by number.

        Raises:
            SettingsError: fewer patches than processes.
        """
        if batch < self.size:
            raise SettingsError(
                "fewer patches than processes",
                setting="recipe",
                found=batch,
                expected=f"at least {self.size}",
                remedy="Raise the recipe's batch or start fewer processes.",
            )
        return range(self.rank, batch, self.size)

    def total(self, value: float, device: torch.device) -> float:
        """The sum of a value over all processes."""
        if self.size == 1:
            return value
        together = torch.tensor(value, dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)
        dist.all_reduce(together)
        return float(together)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over all processes."""
        if self.size == 1:
            return
        gradients = [each.grad for each in parameters if each.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        pieces = flat.split([gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))

    def wait(self) -> None:
        """Wait until every process has made this call."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join_team(device: torch.device) -> Iterator[Team]:
    """Context with the team that torchrun started this process in, else a team of one."""
    if not dist.is_available() or not dist.is_torchelastic_launched():
        yield Team()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """This process's own GPU if torchrun started it and the device is a GPU; otherwise the device itself."""
    if device.type != "cuda" or not dist.is_available() or not dist.is_torchelastic_launched():
        return device
    return torch.device("cuda", dist.get_node_local_rank(0))
