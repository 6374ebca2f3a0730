"""Checkpoints from elsewhere made a member of a weights folder: read, compared with the original, written."""

import hashlib
import math
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from htcnns.errors import InputError, SettingsError, WeightsError, require_known
from htcnns.files.atomic import require_writable, sweep
from htcnns.files.folder import entries
from htcnns.files.foreign_weights import KINDS
from htcnns.files.foreign_weights.kind import Description, Foreign
from htcnns.files.manifest import LONGEST_NAME, MANIFEST, read_manifest, write_manifest
from htcnns.files.member import Member, WeightsFile
from htcnns.files.places import is_folder
from htcnns.files.regular_file import read_regular
from htcnns.files.tensors import tensor_bytes
from htcnns.files.weights import verify_file, write_weights
from htcnns.networks import build_network
from htcnns.networks.contract import each_axis
from htcnns.networks.limits import MOST_FILE_BYTES, MOST_FOLDS, MOST_SET_BYTES
from htcnns.volume import Shape

SEED = 1  # of the window that is compared
LARGEST_DIFFERENCE = 1e-3  # of the largest logit; one network in two programs differs by 4e-6 at most (measured)
_MARK = "imported as"  # what the members of such a folder are known by
_SOURCES = "imported from"


@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """What is imported, and where to.

    Attributes:
        files: checkpoints, or folders of them; all are folds of one network.
        kind: a key of KINDS.
        out: folder that gets the weights and a manifest: a new one, an empty one, or one of imported members.
        name: what the member is chosen by; "" for the kind.
    """

    files: tuple[Path, ...]
    kind: str
    out: Path
    name: str = ""

    def __post_init__(self) -> None:
        require_known(self.kind, KINDS, what="kind of weights", setting="kind")
        if not re.fullmatch(rf"[\w+-][\w.+-]{{0,{LONGEST_NAME - 1}}}", self.name or self.kind, re.ASCII):
            raise SettingsError(
                "not a plain name",
                setting="name",
                found=repr(self.name),
                expected=f"at most {LONGEST_NAME} letters a-z and A-Z, digits and ._+-",
                remedy="Give another name.",
            )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How far logits of one window of random numbers lie apart.

    Attributes:
        window: its edges.
        largest: the largest of the logits, without sign.
        rounding: largest difference that float16 makes.
        original: largest difference from the original network before rounding; None where that is not installed.
    """

    window: Shape
    largest: float
    rounding: float
    original: float | None


@dataclass(frozen=True)
class Imported:
    """A file that was written.

    Attributes:
        file: it.
        checkpoint: what it was made of.
        comparison: how near it is.
    """

    file: WeightsFile
    checkpoint: Path
    comparison: Comparison


def import_member(settings: ImportSettings) -> tuple[Member, tuple[Imported, ...]]:
    """Write a member's files and add it to the manifest; nothing is written before all of them were read and compared.

    Raises:
        SettingsError: a folder with anything but imported members, or with another of that name.
        WeightsError: as reading a checkpoint of the kind; folds that differ in more than their tensors; a network that
            computes something else than the original.
        OutputError: a folder that cannot be written.
    """
    kind, name = KINDS[settings.kind], settings.name or settings.kind
    paths = tuple(path for given in settings.files for path in kind.find(given))
    _require_folds(paths)
    targets = [f"{name}.safetensors"] if len(paths) == 1 else [f"{name}-{n}.safetensors" for n in range(len(paths))]
    there, left = _found_in(settings.out)
    _require_none(sorted(left - set(targets)), settings.out)
    first, found = None, []
    for path in paths:
        foreign = kind.read(path)
        first = first or foreign.description
        _require_same(foreign.description, first, path)
        found.append((_source(foreign), tensor_bytes(foreign.tensors), _compared(foreign)))
    assert first is not None
    sources, contents, comparisons = zip(*found, strict=True)
    _require_room(contents)
    digests = (hashlib.sha256(content).hexdigest() for content in contents)
    files = tuple(WeightsFile(settings.out / t, sha256) for t, sha256 in zip(targets, digests, strict=True))
    imported = {_MARK: settings.kind, _SOURCES: list(sources)}
    member = _member(name, first, title=kind.title, files=files, imported=imported)
    _require_replaced_by_itself(there, member)
    _require_none([file.path.name for file in files if file.path.name in left and not _is_written(file)], settings.out)
    require_writable(settings.out)
    for file, content in zip(files, contents, strict=True):
        write_weights(file.path, content)
        verify_file(member, file)
    write_manifest(settings.out, (*(other for other in there if other.name != name), member))
    return member, tuple(map(Imported, files, paths, comparisons))


def _require_folds(paths: tuple[Path, ...]) -> None:
    """Raise SettingsError unless there are some checkpoints, not too many, each once."""
    if not 1 <= len(set(paths)) == len(paths) <= MOST_FOLDS:
        is_number = len(set(paths)) == len(paths)
        raise SettingsError(
            "too few or too many checkpoints" if is_number else "a checkpoint occurs twice",
            setting="files",
            found=len(paths),
            expected=f"1 to {MOST_FOLDS}, each once",
            remedy="Name each fold of the network once.",
        )


def _require_room(contents: tuple[bytes, ...]) -> None:
    """Raise WeightsError where the files of a member are more than a run takes."""
    n_bytes = sum(map(len, contents))
    if n_bytes > MOST_SET_BYTES:
        raise WeightsError(
            "too many or too large checkpoints",
            found=f"{n_bytes / 2**30:.1f} GiB as float16",
            expected=f"at most {MOST_SET_BYTES / 2**30:.0f} GiB",
            remedy="Import fewer folds.",
        )


def _found_in(folder: Path) -> tuple[tuple[Member, ...], set[str]]:
    """The members that were imported into a folder before, and the names of what else is in it."""
    if not is_folder(folder):
        return (), set()
    sweep(folder)
    found = {path.name for path in entries(folder, expected="a folder", remedy="Give another folder.")}
    members = read_manifest(folder, setting="out") if MANIFEST in found else ()
    _require_none([member.name for member in members if _MARK not in member.trained_on], folder)
    return members, found - {MANIFEST, *(file.path.name for member in members for file in member.files)}


def _require_none(others: list[str], folder: Path) -> None:
    """Raise SettingsError where a folder holds anything but imports; the first is named."""
    if others:
        raise SettingsError(
            f"holds {others[0]}, which was not imported",
            setting="out",
            place=folder,
            expected="a new folder, an empty one, or one of imported members alone",
            remedy="Give another folder.",
        )


def _is_written(file: WeightsFile) -> bool:
    """Whether a file has its content already, as an import that was interrupted leaves it."""
    try:
        content = read_regular(file.path, most_bytes=MOST_FILE_BYTES)
    except InputError:
        return False
    return hashlib.sha256(content).hexdigest() == file.sha256


def _source(foreign: Foreign) -> str:
    """What a file was made of, as the manifest has it."""
    name = "/".join(part for part in (foreign.checkpoint.parent.name, foreign.checkpoint.name) if part)
    return f"{name} sha256 {foreign.sha256}"


def _require_replaced_by_itself(there: tuple[Member, ...], member: Member) -> None:
    """Raise SettingsError where another member has that name or one of its files, and would be lost."""
    names = {file.path.name for file in member.files}
    for other in there:
        theirs = [file.path.name for file in other.files]
        differs = _differences(other, member)
        if differs and (other.name == member.name or names.intersection(theirs)):
            raise SettingsError(
                f"member {other.name} there is another one",
                setting="name",
                found=f"{', '.join(theirs[:3])} of other {', '.join(differs)}",
                expected="a name of its own for each member",
                remedy="Give another name or folder.",
            )


def _differences(member: Member, other: Member) -> list[str]:
    """What two members differ in, in words; checkpoints may lie in another folder by now."""
    a, b = _without_folders(member), _without_folders(other)
    names = [each.name for each in fields(Member) if getattr(a, each.name) != getattr(b, each.name)]
    return [name.replace("_", " ") for name in names]


def _without_folders(member: Member) -> Member:
    """The member with the bare names of its checkpoints."""
    sources = member.trained_on.get(_SOURCES)
    bare = [str(each).rpartition("/")[2] for each in sources] if isinstance(sources, list) else sources
    return replace(member, trained_on={**member.trained_on, _SOURCES: bare})


def _require_same(found: Description, first: Description, path: Path) -> None:
    """Raise WeightsError where a fold differs from the first one in more than its tensors."""
    for each in fields(Description):
        value, expected = getattr(found, each.name), getattr(first, each.name)
        if value != expected:
            raise WeightsError(
                f"not a fold of the same network: another {each.name.replace('_', ' ')}",
                place=path,
                found=str(value)[:200],
                expected=str(expected)[:200],
                remedy="Import them one by one, each under a name.",
            )


def _compared(foreign: Foreign) -> Comparison:
    """The logits of one small window by our network, by ours rounded, and by theirs."""
    of = foreign.description
    network = build_network(of.network, of.size, n_in=len(of.sequences), n_out=len(of.outputs)).eval()
    network.load_state_dict(foreign.tensors)
    i, j, k = (min(2 * m, edge) for m, edge in zip(each_axis(network.multiple), of.window, strict=True))
    window = (i, j, k)  # with fewer voxels at the bottom, instance normalisation enlarges each rounding
    x = torch.randn(1, len(of.sequences), *window, generator=torch.Generator().manual_seed(SEED))
    with torch.inference_mode():
        logits = network(x)
        original = foreign.original(x)
        network.load_state_dict({name: _rounded(tensor) for name, tensor in foreign.tensors.items()})
        rounded = network(x)
    comparison = Comparison(
        window=window,
        largest=logits.abs().max().item(),
        rounding=(logits - rounded).abs().max().item(),
        original=None if original is None else (logits - original).abs().max().item(),
    )
    _require_near(comparison, foreign.checkpoint)
    return comparison


def _require_near(comparison: Comparison, path: Path) -> None:
    """Raise WeightsError where logits are not finite, or not those of the original."""
    if not math.isfinite(comparison.largest + comparison.rounding):
        raise WeightsError(
            "gives numbers that are not finite", place=path, expected="logits", remedy="Use other weights."
        )
    most = LARGEST_DIFFERENCE * max(1.0, comparison.largest)
    if comparison.original is not None and not comparison.original <= most:
        raise WeightsError(
            "computes something else here than in its own program",
            place=path,
            found=f"logits that differ by {comparison.original:.2g}",
            expected=f"at most {most:.2g}",
            remedy="Do not use it here, and report this.",
        )


def _rounded(tensor: Tensor) -> Tensor:
    """What becomes of a tensor in our files."""
    return tensor.half().to(tensor.dtype) if tensor.is_floating_point() else tensor


def _member(name: str, of: Description, *, title: str, files: tuple[WeightsFile, ...], imported: dict) -> Member:
    """The member of a description; `imported` is what it was made of."""
    return Member(
        name=name,
        title=title,
        network=of.network,
        size=of.size,
        files=files,
        sequences=of.sequences,
        regions=of.regions,
        head=of.head,
        outputs=of.outputs,
        window=of.window,
        rules=of.rules,
        trained_on={**imported, **of.made_by, "differs": list(of.notes)},
    )
