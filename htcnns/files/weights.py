"""A member's safetensors files: loading networks from them and saving networks to them, without unpickling."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from torch import nn

from htcnns.errors import InputError, SettingsError, WeightsError
from htcnns.files.atomic import write_whole
from htcnns.files.member import Member, WeightsFile
from htcnns.files.places import size_of
from htcnns.files.regular_file import read_regular
from htcnns.files.tensors import read_tensors, tensor_bytes
from htcnns.networks import build_network, outline_network
from htcnns.networks.contract import Network
from htcnns.networks.limits import MOST_FILE_BYTES, MOST_SET_BYTES


def load_networks(member: Member) -> list[Network]:
    """The member's networks, one per file, in evaluation mode, float32, on the CPU.

    Raises:
        WeightsError: a file is missing, has another checksum, is not safetensors, or has tensors that do not fit; or
            the network does not accept the size or window.
    """
    return [_load(member, file) for file in member.files]


def require_few_bytes(members: Iterable[Member]) -> None:
    """Raise WeightsError where the files of all members together are larger than any machine should have to load."""
    n_bytes = sum(size_of(file.path) for member in members for file in member.files)
    if n_bytes > MOST_SET_BYTES:
        raise WeightsError(
            "too many or too large files",
            found=f"{n_bytes / 2**30:.1f} GiB",
            expected=f"at most {MOST_SET_BYTES / 2**30:.0f} GiB for all members together",
            remedy="Leave members out.",
        )


def verify_file(member: Member, file: WeightsFile) -> str:
    """One line that reports a file as good, after every check, including a strict load into its network.

    Raises:
        WeightsError: as `load_networks`.
    """
    _load(member, file)
    return f"{member.name}: {file.path.name} {file.sha256[:12]} good"


def save_weights(path: Path, network: nn.Module) -> str:
    """Write a network's tensors as safetensors, real numbers as float16, and return the file's sha256."""
    return write_weights(path, tensor_bytes(network.state_dict())).sha256


def write_weights(path: Path, content: bytes) -> WeightsFile:
    """Write the content of a safetensors file, and return its path and checksum for a manifest."""
    write_whole(path, content)
    return WeightsFile(path, hashlib.sha256(content).hexdigest())


def _load(member: Member, file: WeightsFile) -> Network:
    """The network of one file, after every check; its memory is allocated only once everything fits."""
    place = f"{file.path}: {member.name}"
    content = _checked_content(file, member.name, place)
    channels = {"n_in": len(member.sequences), "n_out": len(member.outputs)}
    try:
        outline = outline_network(member.network, member.size, member.window, **channels)
        tensors = read_tensors(content, outline.state_dict(), place=place)
        network = build_network(member.network, member.size, **channels)
    except SettingsError as error:
        raise error.inside(place, kind=WeightsError, remedy="Correct the manifest.") from error
    network.load_state_dict(tensors)
    return network.eval()


def _checked_content(file: WeightsFile, member: str, place: str) -> bytes:
    """The file's bytes; raises WeightsError unless they have the manifest's checksum."""
    try:
        content = read_regular(file.path, most_bytes=MOST_FILE_BYTES)
    except InputError as error:
        problem = WeightsError(
            error.problem,
            place=(file.path, member),
            found=error.found,
            expected=error.expected,
            remedy="Restore the file or leave the member out.",
        )
        raise problem from error
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise WeightsError(
            "the file is damaged or is the wrong one",
            place=place,
            found=f"sha256 {found[:12]}…",
            expected=f"{file.sha256[:12]}…",
            remedy="Restore it.",
        )
    return content
