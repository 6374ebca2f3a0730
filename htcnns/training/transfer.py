"""Transfer of weights to another population: which tensors are kept, remapped or reset."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from htcnns.errors import SettingsError, WeightsError
from htcnns.labels import Label, Region, Sequence
from htcnns.networks import build_network
from htcnns.networks.contract import Network

_Places = tuple[int | None, ...]  # index of each new channel among the old ones; None for one that was not there
_AS_THEY_ARE: _Places = ()
_Move = tuple[int, int, _Places]  # an axis, its length per channel, and the old index of each channel


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """Everything that decides the names and shapes of a network's tensors.

    Attributes:
        network, size: a key of NETWORKS and the arguments of its class.
        sequences, outputs: input and output channels, in order.
    """

    network: str
    size: Mapping[str, Any]
    sequences: tuple[Sequence, ...]
    outputs: tuple[Region, ...] | tuple[Label, ...]

    def build(self) -> Network:
        """A network of these shapes with random weights."""
        return build_network(self.network, self.size, n_in=len(self.sequences), n_out=len(self.outputs))


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The weights that a fit starts from.

    Attributes:
        name: human-readable name, such as folder and member.
        shapes: shapes of their network.
        tensors: tensors by name.
        digest: digest of their file.
    """

    name: str
    shapes: Shapes
    tensors: Mapping[str, Tensor]
    digest: str


@dataclass(frozen=True, kw_only=True)
class TransferSettings:
    """How much of the original weights may change.

    Attributes:
        frozen_stages: number of encoder stages that stay unchanged, from full resolution down.
        early_rate: factor on the learning rate of the encoder's first stage, rising to 1 at the deepest stage.
    """

    frozen_stages: int = 0
    early_rate: float = 1.0

    def __post_init__(self) -> None:
        if self.frozen_stages < 0:
            raise _impossible("frozen_stages", self.frozen_stages, "at least 0")
        if not 0 < self.early_rate <= 1:
            raise _impossible("early_rate", self.early_rate, "0 < early_rate <= 1")


@dataclass(frozen=True, kw_only=True)
class TransferReport:
    """Names of the new network's tensors, by how they were initialised.

    Attributes:
        kept: tensors copied unchanged.
        remapped: tensors copied with channels in another order, or without some.
        reset: tensors with some or all channels missing from the old weights, where the new values stay.
    """

    kept: tuple[str, ...]
    remapped: tuple[str, ...]
    reset: tuple[str, ...]

    def lines(self) -> list[str]:
        """The report as lines of text: the number kept, then a line for each other kind that occurs."""
        named = {"put in another order": self.remapped, "reinitialised, in whole or in part": self.reset}
        lines = [f"{len(self.kept)} tensors kept"]
        lines += [f"{len(names)} {what}: {', '.join(names)}" for what, names in named.items() if names]
        return lines


def transfer(network: Network, shapes: Shapes, origin: Origin) -> TransferReport:
    """Copy weights into a network, with output channels matched by meaning and input channels by sequence.

    A label matches the region that consists of this label alone, such as ET, and vice versa; channels that the old
    weights lack keep the network's own values.

    Args:
        network: network of these shapes, changed in place.
        shapes: shapes of the network.
        origin: weights of the same network in the same size.

    Raises:
        WeightsError: weights of another network or size, or without an output or sequence in common.
    """
    _require_same_network(shapes, origin)
    places = {
        "in": _places(shapes.sequences, origin.shapes.sequences, "sequence", origin),
        "out": _places(shapes.outputs, origin.shapes.outputs, "output", origin),
    }
    fates: dict[str, list[str]] = {"kept": [], "remapped": [], "reset": []}
    axes = _channel_axes(shapes)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            moves = [(axis, width, places[what]) for axis, width, what in axes[name] if places[what] != _AS_THEY_ARE]
            tensor.copy_(_mapped(origin.tensors[name], tensor, moves))
            fates[_fate(moves)].append(name)
    return TransferReport(**{fate: tuple(names) for fate, names in fates.items()})


def learning_rates(network: Network, settings: TransferSettings) -> dict[str, float]:
    """Learning-rate factor of every parameter, by name, whose factor is not 1; 0 for frozen parameters.

    Raises:
        SettingsError: more frozen stages than the encoder has.
    """
    stages = network.encoder_stages()
    n_stages = len(stages)
    if settings.frozen_stages > n_stages:
        raise _impossible("frozen_stages", settings.frozen_stages, f"at most {n_stages}, the encoder's stages")
    rates: dict[nn.Parameter, float] = {}
    for stage, parts in enumerate(stages):
        rate = 0.0 if stage < settings.frozen_stages else settings.early_rate ** (1 - stage / max(1, n_stages - 1))
        rates |= dict.fromkeys((parameter for part in parts for parameter in part.parameters()), rate)
    named = {name: rates.get(parameter, 1.0) for name, parameter in network.named_parameters()}
    return {name: rate for name, rate in named.items() if rate != 1}


def _require_same_network(shapes: Shapes, origin: Origin) -> None:
    for what, found, expected in (
        ("network", origin.shapes.network, shapes.network),
        ("size", _plain(origin.shapes.size), _plain(shapes.size)),
    ):
        if found != expected:
            raise WeightsError(
                f"the weights are for another {what}",
                setting="origin",
                place=origin.name,
                found=found,
                expected=expected,
                remedy="Start from weights of the same network and size, or change the recipe.",
            )


def _plain(size: Mapping[str, Any]) -> dict[str, Any]:
    """The size as a manifest stores it."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in size.items()}


def _places(new: tuple, old: tuple, what: str, origin: Origin) -> _Places:
    """The index of each new channel among the old ones; `_AS_THEY_ARE` if nothing moves."""
    place_of = {_meaning(channel): place for place, channel in enumerate(old)}
    places = tuple(place_of.get(_meaning(channel)) for channel in new)
    if all(place is None for place in places):
        before, now = (", ".join(map(_channel_name, channels)) for channels in (old, new))
        raise WeightsError(
            f"the weights have no {what} in common with the recipe",
            setting="origin",
            place=origin.name,
            found=before,
            expected=f"at least one of {now}",
            remedy="Start from other weights.",
        )
    return _AS_THEY_ARE if places == tuple(range(len(old))) else places


def _meaning(channel: Sequence | Region | Label) -> Sequence | tuple[Label, ...]:
    """The key by which equivalent channels match: their sequence, or the labels that they mark."""
    if isinstance(channel, Sequence):
        return channel
    return channel.value if isinstance(channel, Region) else (channel,)


def _channel_name(channel: Sequence | Region | Label) -> str:
    return str(channel) if isinstance(channel, Sequence) else channel.name


def _channel_axes(shapes: Shapes) -> dict[str, list[tuple[int, int, str]]]:
    """The axes of each tensor that depend on the sequences ("in") or outputs ("out"), with their length per channel.

    Found by comparison with networks that have one channel more.
    """
    n_in, n_out = len(shapes.sequences), len(shapes.outputs)
    plain = _tensor_shapes(shapes, n_in, n_out)
    larger = {"in": _tensor_shapes(shapes, n_in + 1, n_out), "out": _tensor_shapes(shapes, n_in, n_out + 1)}
    return {
        name: [
            (axis, there - here, what)
            for what, found in larger.items()
            for axis, (here, there) in enumerate(zip(shape, found[name], strict=True))
            if here != there
        ]
        for name, shape in plain.items()
    }


def _tensor_shapes(shapes: Shapes, n_in: int, n_out: int) -> dict[str, torch.Size]:
    with torch.device("meta"):  # only its shapes are needed
        network = build_network(shapes.network, shapes.size, n_in=n_in, n_out=n_out)
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def _mapped(old: Tensor, new: Tensor, moves: list[_Move]) -> Tensor:
    """The old tensor rearranged to the channels of the new one; channels that it lacks keep the new values."""
    if not moves:
        return old
    picked, is_known = old.to(new.dtype), torch.ones(new.shape, dtype=torch.bool)
    for axis, width, places in moves:
        picked = picked.index_select(axis, torch.tensor([width * (p or 0) + w for p in places for w in range(width)]))
        known = torch.tensor([place is not None for place in places for _ in range(width)])
        is_known &= known.view(-1, *[1] * (new.dim() - axis - 1))
    return torch.where(is_known, picked, new)


def _fate(moves: list[_Move]) -> str:
    """How a tensor was initialised: "kept", "remapped", or "reset" in whole or in part."""
    if not moves:
        return "kept"
    return "reset" if any(None in places for _, _, places in moves) else "remapped"


def _impossible(setting: str, found: object, expected: str) -> SettingsError:
    return SettingsError(
        "impossible value", setting=setting, found=found, expected=expected, remedy="Give another value."
    )
