"""The networks by name, each with its published size and a compact one for CPUs and small files."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import torch

from htcnns.errors import SettingsError, require_known
from htcnns.networks import axial_unet, dmfnet, res_unet, segresnet, swin_unetr, transbts, unet, vnet
from htcnns.networks.contract import Network, require_window
from htcnns.networks.limits import MOST_PARAMETERS, require_size, require_work
from htcnns.volume import Shape


@dataclass(frozen=True)
class NetworkKind:
    """An architecture that members can have.

    Attributes:
        build: its class, called with the arguments of a size and with n_in and n_out.
        sizes: the arguments of its named sizes, including "published" and "compact".
        optional: arguments that a size may omit, with their values in the published size.
    """

    build: Callable[..., Network]
    sizes: Mapping[str, dict]
    optional: Mapping[str, object] = field(default_factory=dict)


NETWORKS: Mapping[str, NetworkKind] = MappingProxyType(
    {
        "unet": NetworkKind(unet.UNet, unet.SIZES, unet.OPTIONAL),
        "res_unet": NetworkKind(res_unet.ResUNet, res_unet.SIZES, res_unet.OPTIONAL),
        "transbts": NetworkKind(transbts.TransBTS, transbts.SIZES),
        "axial_unet": NetworkKind(axial_unet.AxialUNet, axial_unet.SIZES),
        "vnet": NetworkKind(vnet.VNet, vnet.SIZES),
        "dmfnet": NetworkKind(dmfnet.DMFNet, dmfnet.SIZES),
        "swin_unetr": NetworkKind(swin_unetr.SwinUNETR, swin_unetr.SIZES),
        "segresnet": NetworkKind(segresnet.SegResNet, segresnet.SIZES),
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
        SettingsError: an unknown name, or a size that the class does not accept or that exceeds the limits.
    """
    require_known(name, NETWORKS, what="network", setting="network")
    kind = NETWORKS[name]
    require_size(size, {**kind.sizes["published"], **kind.optional})
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in size.items()}
    try:
        return kind.build(**arguments, n_in=n_in, n_out=n_out)
    except (TypeError, ValueError, LookupError, ArithmeticError, RuntimeError) as error:
        raise _cannot_be_built(name, error) from error


def outline_network(name: str, size: Mapping, window: Shape, *, n_in: int, n_out: int) -> Network:
    """The network on the device "meta", without memory for its tensors, after a trial run on one window.

    Args:
        window: edges in voxels.

    Raises:
        SettingsError: as for `build_network`; too many parameters, a window that is impossible or too much work, or
            logits other than n_out channels on the window's grid.
    """
    with torch.device("meta"), torch.inference_mode():
        network = build_network(name, size, n_in=n_in, n_out=n_out).eval()
        n_parameters = sum(parameter.numel() for parameter in network.parameters())
        if n_parameters > MOST_PARAMETERS:
            raise SettingsError(
                f"{name} is too large at that size",
                setting="size",
                found=f"{n_parameters / 1e6:.0f} million parameters",
                expected=f"at most {MOST_PARAMETERS / 1e6:.0f} million",
                remedy="Correct the manifest.",
            )
        empty = [title for title, parameter in network.named_parameters() if not parameter.numel()]
        if empty:
            raise _cannot_be_built(name, f"{empty[0]} without any values")
        require_window(window, network.multiple, network=name)
        require_work(size, window, multiple=network.multiple)
        try:
            shape = network(torch.empty(1, n_in, *window)).shape
        except (TypeError, ValueError, LookupError, ArithmeticError, RuntimeError) as error:
            raise _cannot_be_built(name, error) from error
    if shape != (1, n_out, *window):
        raise _cannot_be_built(name, f"logits of {tuple(shape)} instead of {(1, n_out, *window)}")
    return network


def _cannot_be_built(name: str, reason: Exception | str) -> SettingsError:
    kind = f"{type(reason).__name__}: " if isinstance(reason, Exception) else ""
    return SettingsError(
        f"{name} cannot be built at that size",
        setting="size",
        found=f"{kind}{str(reason).split(chr(10))[0]}",
        expected=f"values for {', '.join(NETWORKS[name].sizes['published'])}",
        remedy="Correct the manifest.",
    )
