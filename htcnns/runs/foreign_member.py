"""Checkpoints from elsewhere turned into a member of a weights folder: read, compared with the original, written."""

import hashlib
import math
import re
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from htcnns.errors import SettingsError, WeightsError, require_known
from htcnns.files.atomic import require_writable
from htcnns.files.foreign_weights import KINDS
from htcnns.files.foreign_weights.kind import Description, Foreign
from htcnns.files.manifest import LONGEST_NAME, write_manifest
from htcnns.files.member import Member, WeightsFile
from htcnns.files.tensors import tensor_bytes
from htcnns.files.weights import verify_file, write_weights
from htcnns.labels import SEQUENCES, Sequence
from htcnns.networks import build_network
from htcnns.networks.contract import each_axis
from htcnns.networks.limits import MOST_FOLDS, MOST_SET_BYTES
from htcnns.runs.import_folder import MARK, SOURCES, found_in, require_no_loss, require_place
from htcnns.volume import Shape

SEED = 1  # of the random window on which logits are compared
LARGEST_DIFFERENCE = 1e-3  # share of the largest logit; one network in two programs differs by at most 4e-6 (measured)


@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """What is imported, and where to.

    Attributes:
        files: checkpoints, or folders of them, all folds of one network.
        kind: a key of KINDS.
        out: folder for the weights and a manifest: a new one, an empty one, or one of imported members.
        name: name that the member is chosen by; "" for the kind.
        sequences: input sequences in the network's order; () for the order that the files state, or else the kind's.
    """

    files: tuple[Path, ...]
    kind: str
    out: Path
    name: str = ""
    sequences: tuple[Sequence, ...] = ()

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
        self._require_order()

    def _require_order(self) -> None:
        """Raise SettingsError if the named sequences are not all four, or the files state the order themselves."""
        if self.sequences and not KINDS[self.kind].order:
            raise SettingsError(
                f"files of {self.kind} state the order of the network's sequences themselves",
                setting="sequences",
                found=", ".join(self.sequences),
                expected="none",
                remedy="Leave it out; if the files are wrong, correct them.",
            )
        if self.sequences and sorted(self.sequences) != sorted(SEQUENCES):
            raise SettingsError(
                "not the four sequences that these networks see",
                setting="sequences",
                found=", ".join(self.sequences),
                expected=f"{', '.join(SEQUENCES)}, each once, in the order of the network",
                remedy="Name all four.",
            )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Differences between logits of one window of random numbers.

    Attributes:
        window: edges of the window in voxels.
        largest: largest absolute logit.
        rounding: largest difference that rounding the weights to float16 makes.
        original: largest difference from the original network before rounding; None if that is not installed.
    """

    window: Shape
    largest: float
    rounding: float
    original: float | None


@dataclass(frozen=True)
class Imported:
    """A file that was written.

    Attributes:
        file: path and sha256 of the file.
        checkpoint: checkpoint that the file was made from.
        comparison: differences in logits from rounding, and from the original.
    """

    file: WeightsFile
    checkpoint: Path
    comparison: Comparison


def import_member(settings: ImportSettings) -> tuple[Member, tuple[Imported, ...]]:
    """Write a member's files and add it to the manifest, once all checkpoints have been read and compared.

    Raises:
        SettingsError: no, repeated or too many checkpoints; a folder with anything but imported members, with another
            member of that name, or without room for one more.
        WeightsError: as the kind's `read`; folds that differ in more than their tensors; a network whose logits are not
            those of the original.
        OutputError: a folder that cannot be written.
    """
    kind, name = KINDS[settings.kind], settings.name or settings.kind
    paths = tuple(path for given in settings.files for path in kind.find(given))
    _require_folds(paths)
    numbers = [""] if len(paths) == 1 else [f"-{n}" for n in range(len(paths))]
    targets = tuple(f"{name}{number}.safetensors" for number in numbers)
    there = found_in(settings.out)
    require_place(there, name, targets)
    first, found = None, []
    for path in paths:
        foreign = kind.read(path)
        first = first or foreign.description
        _require_same(foreign.description, first, path)
        found.append((_source(foreign), tensor_bytes(foreign.tensors), _compared(foreign)))
    assert first is not None
    described = first.in_order(settings.sequences, taken=kind.order)
    sources, contents, comparisons = zip(*found, strict=True)
    _require_room(contents)
    digests = (hashlib.sha256(content).hexdigest() for content in contents)
    files = tuple(WeightsFile(settings.out / t, sha256) for t, sha256 in zip(targets, digests, strict=True))
    imported = {MARK: settings.kind, SOURCES: list(sources)}
    member = _member(name, described, title=kind.title, files=files, imported=imported)
    require_no_loss(there, member)
    require_writable(settings.out)
    for file, content in zip(files, contents, strict=True):
        write_weights(file.path, content)
        verify_file(member, file)
    write_manifest(settings.out, there.with_member(member))
    return member, tuple(map(Imported, files, paths, comparisons))


def _require_folds(paths: tuple[Path, ...]) -> None:
    """Raise SettingsError if there are no, repeated or too many checkpoints."""
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
    """Raise WeightsError if the files of a member are together larger than a run accepts."""
    n_bytes = sum(map(len, contents))
    if n_bytes > MOST_SET_BYTES:
        raise WeightsError(
            "too many or too large checkpoints",
            found=f"{n_bytes / 2**30:.1f} GiB as float16",
            expected=f"at most {MOST_SET_BYTES / 2**30:.0f} GiB",
            remedy="Import fewer folds.",
        )


def _source(foreign: Foreign) -> str:
    """The checkpoint that a file was made from, as the manifest records it."""
    name = "/".join(part for part in (foreign.checkpoint.parent.name, foreign.checkpoint.name) if part)
    return f"{name} sha256 {foreign.sha256}"


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
                remedy="Import them one by one, each under its own name.",
            )


def _compared(foreign: Foreign) -> Comparison:
    """Compare logits of one small window: of our network, of ours with rounded weights, and of the original."""
    of = foreign.description
    network = build_network(of.network, of.size, n_in=len(of.sequences), n_out=len(of.outputs)).eval()
    network.load_state_dict(foreign.tensors)
    i, j, k = (min(2 * m, edge) for m, edge in zip(each_axis(network.multiple), of.window, strict=True))
    window = (i, j, k)  # with fewer voxels at the lowest resolution, instance normalisation amplifies rounding
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
    """Raise WeightsError if logits are not finite, or differ from those of the original."""
    if not math.isfinite(comparison.largest + comparison.rounding):
        raise WeightsError(
            "returned values that are not finite", place=path, expected="logits", remedy="Use other weights."
        )
    most = LARGEST_DIFFERENCE * max(1.0, comparison.largest)
    if comparison.original is not None and not comparison.original <= most:
        raise WeightsError(
            "computes different values here than in its own program",
            place=path,
            found=f"logits that differ by {comparison.original:.2g}",
            expected=f"at most {most:.2g}",
            remedy="Do not use it here, and report this.",
        )


def _rounded(tensor: Tensor) -> Tensor:
    """The tensor as our files store it: floats rounded to float16."""
    return tensor.half().to(tensor.dtype) if tensor.is_floating_point() else tensor


def _member(name: str, of: Description, *, title: str, files: tuple[WeightsFile, ...], imported: dict) -> Member:
    """The member of a description; `imported` records what it was made from."""
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
        mirror=of.mirror,
        preprocessing=of.preprocessing,
        rules=of.rules,
        trained_on={**imported, **of.made_by, "differs": list(of.notes)},
    )
