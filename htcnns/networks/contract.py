"""The contract of all networks: the windows that they accept, the logits that they return, what the channels mean."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum

import torch
from torch import Tensor, nn

from htcnns.errors import SettingsError
from htcnns.labels import Label, Region, RegionSet
from htcnns.volume import Shape, size_text


class Head(StrEnum):
    """What the channels of the logits represent."""

    SIGMOID = "sigmoid"  # regions that may overlap
    SOFTMAX = "softmax"  # labels that exclude each other, the background first


class Network(nn.Module, ABC):
    """A network from (B, n_in, I, J, K) intensities to (B, n_out, I, J, K) logits.

    Attributes:
        multiple: number that every window edge must be a multiple of, or one number per axis; see `require_window`.
    """

    multiple: int | Shape

    def forward(self, x: Tensor) -> Tensor:
        """Logits at full resolution: (B, n_out, I, J, K) from (B, n_in, I, J, K)."""
        return self.deep(x)[0]

    @abstractmethod
    def deep(self, x: Tensor) -> list[Tensor]:
        """Logits at every resolution that has a head, full first, for deep supervision."""

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """The parts with nearly all activations, which training may recompute in the backward pass to save memory."""

    @abstractmethod
    def encoder_stages(self) -> list[list[nn.Module]]:
        """The parts of the encoder by resolution, largest first; fine-tuning may leave the first ones unchanged."""


def each_axis(multiple: int | Shape) -> Shape:
    """The multiples for edges along I, J and K."""
    return (multiple, multiple, multiple) if isinstance(multiple, int) else multiple


def require_window(size: Sequence[int], multiple: int | Shape, *, network: str) -> None:
    """Raise SettingsError unless the edges of a window are multiples of `multiple` and not all equal to it.

    A cube of edge `multiple` would leave one voxel at the deepest resolution, which cannot be normalised.

    Args:
        size: edges of the window; of a tensor, its last three axes.
        multiple: multiple of the network.
        network: name of the network, for the message.
    """
    multiples = each_axis(multiple)
    n_left = [edge // m if edge % m == 0 else 0 for edge, m in zip(size, multiples, strict=True)]
    if min(n_left) > 0 and max(n_left) > 1:
        return
    raise SettingsError(
        "the window cannot be halved down to the deepest features",
        place=network,
        setting="window",
        found=f"{size_text(size)} voxels",
        expected=_expected(multiple),
        remedy=f"Use for instance {size_text(_nearest_window(size, multiples))}.",
    )


def outputs_of(regions: RegionSet, head: Head) -> tuple[Region, ...] | tuple[Label, ...]:
    """The channels of networks that we train: the regions of the set, or background and labels in numerical order."""
    return regions.regions if head is Head.SIGMOID else (Label.BACKGROUND, *sorted(regions.labels))


def region_probabilities(
    logits: Tensor, regions: RegionSet, head: Head, outputs: tuple[Region, ...] | tuple[Label, ...]
) -> Tensor:
    """(B, R, …) float32 probabilities of the regions, in the order of the set, from (B, n_out, …) logits.

    Args:
        head: a sigmoid for each region, or one softmax over the labels, summed over the labels of each region.
        outputs: what each channel is: the regions of the set in any order, or its labels with the background first.
    """
    if head is Head.SIGMOID:
        probabilities = logits.float().sigmoid()
        return probabilities[:, [outputs.index(region) for region in regions.regions]]
    of_labels = logits.float().softmax(dim=1)
    channels = [[c for c, label in enumerate(outputs) if label in region.value] for region in regions.regions]
    # rounding may lift a sum of parts slightly above 1
    return torch.stack([of_labels[:, chosen].sum(dim=1) for chosen in channels], dim=1).clamp(max=1)


def _expected(multiple: int | Shape) -> str:
    """The accepted windows, in words."""
    if isinstance(multiple, int):
        return f"multiples of {multiple}, the largest edge at least {2 * multiple}"
    return f"multiples of {size_text(multiple)} with at least one edge larger"


def _nearest_window(size: Sequence[int], multiples: Shape) -> Shape:
    """An accepted window near the refused one."""
    i, j, k = (max(1, round(edge / m)) for edge, m in zip(size, multiples, strict=True))
    if max(i, j, k) == 1:
        i = j = k = 2
    return i * multiples[0], j * multiples[1], k * multiples[2]
