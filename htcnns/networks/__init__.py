"""The networks by name, each with its published size and the compact one that is shipped."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from htcnns.errors import SettingsError, require_known
from htcnns.networks import axial_unet, transbts, unet
from htcnns.networks.contract import Network


@dataclass(frozen=True)
class NetworkKind:
    """A network that members can have.

    Attributes:
        build: its class, called with the arguments of a size and with n_in and n_out.
        sizes: the arguments of its named sizes, "published" and "compact".
    """

    build: Callable[..., Network]
    sizes: Mapping[str, dict]


NETWORKS: Mapping[str, NetworkKind] = MappingProxyType(
    {
        "unet": NetworkKind(unet.UNet, unet.SIZES),
        "transbts": NetworkKind(transbts.TransBTS, transbts.SIZES),
        "axial_unet": NetworkKind(axial_unet.AxialUNet, axial_unet.SIZES),
    }
)


def build_network(name: str, size: Mapping, *, n_in: int = 4, n_out: int = 3) -> Network:
    """A network with random weights.

    Args:
        name: a key of NETWORKS.
        size: the arguments of its class, as a manifest stores them (lists are taken as tuples).
        n_in: number of sequences.
        n_out: number of channels of the logits.

    Raises:
        SettingsError: an unknown name, or a size that the class does not take.
    """
    require_known(name, NETWORKS, what="network", setting="network")
    kind = NETWORKS[name]
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in size.items()}
    try:
        return kind.build(**arguments, n_in=n_in, n_out=n_out)
    except (TypeError, ValueError, LookupError, RuntimeError) as error:
        raise SettingsError(
            f"{name} cannot be built in that size",
            setting="size",
            found=f"{type(error).__name__}: {error}",
            expected=f"values for {', '.join(kind.sizes['published'])}",
            remedy="Correct the manifest.",
        ) from error
