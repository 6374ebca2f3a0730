"""A member's safetensors files: networks out of them and into them, and nothing that unpickles."""

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from htcnns.errors import SettingsError, WeightsError
from htcnns.files.atomic import write_whole
from htcnns.files.manifest import Member, WeightsFile
from htcnns.networks import build_network
from htcnns.networks.contract import Network

_RESTORE = "Restore the file and its manifest."


def load_networks(member: Member) -> list[Network]:
    """The member's networks, one per file, in evaluation mode, float32, on the CPU.

    Raises:
        WeightsError: a file that is absent, has another checksum, is no safetensors file, or whose tensors do not fit.
    """
    return [_load(member, file) for file in member.files]


def verify_file(member: Member, file: WeightsFile) -> str:
    """One line on a file of the member that passed every check, including loading it strictly into its network.

    Raises:
        WeightsError: as load_networks.
    """
    _load(member, file)
    return f"{member.name}: {file.path.name} {file.sha256[:12]} good"


def save_weights(path: Path, network: nn.Module) -> str:
    """Write a network's tensors as safetensors, real numbers as float16, and return the file's sha256."""
    tensors = {name: _halved(tensor.detach().cpu()).contiguous() for name, tensor in network.state_dict().items()}
    content = save_tensors(tensors)
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def digest(path: Path) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    """Real numbers as float16; counts, which batch normalisation has, unchanged."""
    return tensor.half() if tensor.is_floating_point() else tensor


def _load(member: Member, file: WeightsFile) -> Network:
    """One file's network, with every check on the way."""
    place = f"{file.path}: {member.name}"
    content = _checked_content(file, place)
    try:
        tensors = load_tensors(content)
    except SafetensorError as error:
        raise WeightsError(f"not a safetensors file ({error})", place=place, remedy=_RESTORE) from error
    try:
        network = build_network(member.network, member.size, n_in=len(member.sequences), n_out=len(member.outputs))
    except SettingsError as error:
        raise error.inside(place, kind=WeightsError, remedy=_RESTORE) from error
    _require_fit(network, tensors, place=place)
    network.load_state_dict(tensors)
    return network.eval()


def _checked_content(file: WeightsFile, place: str) -> bytes:
    """The file's bytes, if they are those of the manifest's checksum."""
    try:
        content = file.path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"cannot be read ({error.strerror or error})",
            place=place,
            remedy="Restore the file or leave the member out.",
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise WeightsError(
            "the file is damaged or another one",
            place=place,
            found=f"sha256 {found[:12]}…",
            expected=f"{file.sha256[:12]}…",
            remedy="Restore it.",
        )
    return content


def _require_fit(network: nn.Module, tensors: dict[str, torch.Tensor], *, place: str) -> None:
    """Raise WeightsError unless the tensors are exactly those of the network; the first that is not is named."""
    wanted = network.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - wanted.keys())
    if missing or unexpected:
        raise WeightsError(
            f"missing {missing[0]}" if missing else f"unexpected {unexpected[0]}",
            place=place,
            found=f"{len(missing)} tensors missing and {len(unexpected)} unexpected",
            remedy="The file belongs to another network or size; correct the manifest.",
        )
    for name, tensor in wanted.items():
        if tensors[name].shape != tensor.shape:
            raise WeightsError(
                f"another shape of {name}",
                place=place,
                found=tuple(tensors[name].shape),
                expected=tuple(tensor.shape),
                remedy="The file belongs to another size; correct the manifest.",
            )
