"""weights/manifest.json and its safetensors files: what the members are, and nothing that unpickles."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from htcnns.errors import HtcnnsError, SettingsError, WeightsError
from htcnns.files.whole import write_whole
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import REGIONS, SEQUENCES, Region, Sequence
from htcnns.networks import build_network

MANIFEST = "manifest.json"
FORMAT = 1

_T = TypeVar("_T")


@dataclass(frozen=True)
class WeightsFile:
    """One file of a member (one fold), and the checksum it must have."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class Member:
    """One voice of the ensemble: all that is known of it but its tensors.

    Attributes:
        name: as chosen by --members.
        title: what a person calls it.
        network, size: a name in networks.NETWORKS and the arguments of its class.
        files: one per fold; their probabilities are averaged.
        sequences, regions: in the order of the network's channels.
        window: edges in voxels.
        box: a fixed box to pad the brain to, or None.
        rules: thresholds and clean-up of its probabilities.
        trained_on, scores: for people; copied into reports.
    """

    name: str
    title: str
    network: str
    size: dict
    files: tuple[WeightsFile, ...]
    sequences: tuple[Sequence, ...] = SEQUENCES
    regions: tuple[Region, ...] = REGIONS
    window: tuple[int, int, int] = (128, 128, 128)
    box: tuple[int, int, int] | None = None
    rules: PostprocessRules = field(default_factory=PostprocessRules)
    trained_on: dict = field(default_factory=dict)
    scores: dict = field(default_factory=dict)


def read_manifest(folder: Path) -> tuple[Member, ...]:
    """The members that a weights folder describes; checksums are not looked at yet.

    Raises:
        WeightsError: no manifest, not JSON, an unknown format, a missing or impossible entry; the entry is named.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(
            f"{folder}: no {MANIFEST} there. Give a folder that holds {MANIFEST} and its weights files with --weights."
        ) from error
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{path}: cannot be read ({error}). Restore the file that belongs to the weights."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise WeightsError(f"{path}: format {found!r}, expected {FORMAT}. Use the htcnns version it was made for.")
    entries = content.get("members")
    if not isinstance(entries, list) or not entries:
        raise WeightsError(f"{path}: lists no members, expected at least one. Restore the manifest.")
    members = tuple(_member(entry, path) for entry in entries)
    names = [member.name for member in members]
    if len(set(names)) < len(names):
        raise WeightsError(f"{path}: two members share a name; found {', '.join(names)}. Rename one of them.")
    return members


def choose_members(members: tuple[Member, ...], names: tuple[str, ...]) -> tuple[Member, ...]:
    """The members of those names in the manifest's order; all of them when no name is given.

    Raises:
        SettingsError: an unknown name; the message lists the known ones.
    """
    known = [member.name for member in members]
    for name in names:
        if name not in known:
            raise SettingsError(f"--members: unknown member {name!r}; known are {', '.join(known)}. Choose among them.")
    return tuple(member for member in members if not names or member.name in names)


def load_networks(member: Member) -> list[nn.Module]:
    """The member's networks, one per file, in evaluation mode, float32, on the CPU.

    Raises:
        WeightsError: a file that is absent, has another checksum, is no safetensors file, or whose tensors do not fit.
    """
    return [_load(member, file) for file in member.files]


def verify_file(member: Member, file: WeightsFile) -> str:
    """A line on one of the member's files that passed every check, including loading it strictly into its network.

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


def write_manifest(folder: Path, members: tuple[Member, ...]) -> None:
    """Write the manifest that `read_manifest` reads; file paths are stored as names inside the folder."""
    content = {"format": FORMAT, "members": [_entry(member) for member in members]}
    write_whole(folder / MANIFEST, (json.dumps(content, indent=2) + "\n").encode())


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    """Real numbers as float16; counts, as batch normalisation has, unchanged."""
    return tensor.half() if tensor.is_floating_point() else tensor


def _entry(member: Member) -> dict:
    """The manifest's JSON object of a member."""
    return {
        "name": member.name,
        "title": member.title,
        "network": member.network,
        "size": member.size,
        "files": [{"name": file.path.name, "sha256": file.sha256} for file in member.files],
        "sequences": [str(sequence) for sequence in member.sequences],
        "regions": [region.name for region in member.regions],
        "window": list(member.window),
        "box": list(member.box) if member.box else None,
        "postprocess": asdict(member.rules),
        "trained_on": member.trained_on,
        "scores": member.scores,
    }


def _member(entry: dict, path: Path) -> Member:
    """A Member from its JSON object."""
    name = entry.get("name", "a member without a name") if isinstance(entry, dict) else repr(entry)
    try:
        files = tuple(
            WeightsFile(_inside(path.parent, _typed(file, "name", str)), _typed(file, "sha256", str))
            for file in entry["files"]
        )
        if not files:
            raise ValueError("no files")
        return Member(
            name=_typed(entry, "name", str),
            title=_typed(entry, "title", str),
            network=_typed(entry, "network", str),
            size=_typed(entry, "size", dict),
            files=files,
            sequences=_each_once((Sequence(text) for text in entry["sequences"]), SEQUENCES),
            regions=_each_once((Region[text] for text in entry["regions"]), REGIONS),
            window=_edges(entry["window"]),
            box=_edges(entry["box"]) if entry.get("box") else None,
            rules=PostprocessRules.from_json(_typed(entry, "postprocess", dict), where="its rules"),
            trained_on=entry.get("trained_on", {}),
            scores=entry.get("scores", {}),
        )
    except KeyError as error:
        raise WeightsError(f"{path}: {name}: {error} is missing or unknown. Restore the manifest.") from error
    except (TypeError, ValueError, HtcnnsError) as error:
        raise WeightsError(f"{path}: {name}: {_unstopped(error)}. Restore the manifest.") from error


def _inside(folder: Path, name: str) -> Path:
    """The file of that name in the folder; a name that could lead out of it, or to no safetensors file, is refused."""
    if not re.fullmatch(r"[\w.+-]+\.safetensors", name):
        raise ValueError(f"file name {name!r} is not a plain name that ends in .safetensors")
    return folder / name


def _typed(entry: dict, key: str, kind: type[_T]) -> _T:
    """The entry's value of that key, if it is of that kind."""
    value = entry[key]
    if not isinstance(value, kind):
        raise TypeError(f"{key} is {value!r}, expected a {kind.__name__}")
    return value


def _each_once(found: Iterable, known: tuple) -> tuple:
    """The items as a tuple, if they are the known ones in any order."""
    items = tuple(found)
    if sorted(map(str, items)) != sorted(map(str, known)):
        raise ValueError(f"found {', '.join(map(str, items))}, expected {', '.join(map(str, known))} in some order")
    return items


def _edges(values: list[int]) -> tuple[int, int, int]:
    if len(values) != 3 or not all(isinstance(value, int) and value > 0 for value in values):
        raise ValueError(f"edges are {values}, expected three positive whole numbers")
    return values[0], values[1], values[2]


def _unstopped(error: Exception) -> str:
    """An error's text without its full stop, to go on in the same sentence."""
    return str(error).removesuffix(".")


def _load(member: Member, file: WeightsFile) -> nn.Module:
    """One file's network, with every check on the way."""
    try:
        content = file.path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"{file.path}: {member.name}: cannot be read ({error.strerror}). Restore the file or leave the member out."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise WeightsError(
            f"{file.path}: {member.name}: sha256 is {found[:12]}…, expected {file.sha256[:12]}…. "
            "The file is damaged or another one; restore it."
        )
    try:
        tensors = load_tensors(content)
        network = build_network(member.network, member.size)
    except (SafetensorError, SettingsError) as error:
        raise WeightsError(
            f"{file.path}: {member.name}: {_unstopped(error)}. Restore the file and its manifest."
        ) from error
    _require_fit(network, tensors, where=f"{file.path}: {member.name}")
    network.load_state_dict(tensors)
    return network.eval()


def _require_fit(network: nn.Module, tensors: dict[str, torch.Tensor], *, where: str) -> None:
    """Raise WeightsError unless the tensors are exactly those of the network; the first that is not is named."""
    wanted = network.state_dict()
    missing = sorted(wanted.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - wanted.keys())
    if missing or unexpected:
        what = f"missing {missing[0]}" if missing else f"unexpected {unexpected[0]}"
        raise WeightsError(
            f"{where}: {what}; {len(missing)} tensors missing, {len(unexpected)} unexpected. "
            "The file belongs to another network or size; correct the manifest."
        )
    for name, tensor in wanted.items():
        if tensors[name].shape != tensor.shape:
            raise WeightsError(
                f"{where}: {name} has shape {tuple(tensors[name].shape)}, expected {tuple(tensor.shape)}. "
                "The file belongs to another size; correct the manifest."
            )
