"""The networks by name, each in its published size and in the compact one that is shipped."""

from torch import nn

from htcnns.errors import SettingsError
from htcnns.networks import axial_unet, transbts, unet

NETWORKS: dict[str, type[nn.Module]] = {
    "unet": unet.UNet,
    "transbts": transbts.TransBTS,
    "axial_unet": axial_unet.AxialUNet,
}
SIZES: dict[str, dict[str, dict]] = {
    "unet": {"published": unet.PUBLISHED, "compact": unet.COMPACT},
    "transbts": {"published": transbts.PUBLISHED, "compact": transbts.COMPACT},
    "axial_unet": {"published": axial_unet.PUBLISHED, "compact": axial_unet.COMPACT},
}


def build_network(name: str, size: dict) -> nn.Module:
    """A network with random weights.

    Args:
        name: a key of NETWORKS.
        size: the keyword arguments of its class, as a manifest stores them (lists are taken as tuples).

    Raises:
        SettingsError: an unknown name, or a size that the class does not take.
    """
    if name not in NETWORKS:
        raise SettingsError(f"unknown network {name!r}; known are {', '.join(NETWORKS)}. Choose one of them.")
    arguments = {key: tuple(value) if isinstance(value, list) else value for key, value in size.items()}
    try:
        return NETWORKS[name](**arguments)
    except (TypeError, ValueError, LookupError, RuntimeError) as error:
        wanted = ", ".join(SIZES[name]["published"])
        raise SettingsError(
            f"{name}: cannot be built in that size ({type(error).__name__}: {error}); "
            f"its size is given by {wanted}. Correct the manifest."
        ) from error
