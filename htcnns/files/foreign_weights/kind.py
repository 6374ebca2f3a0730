"""A kind of foreign weights, and what reading one of its files returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from torch import Tensor

from htcnns.errors import SettingsError, WeightsError
from htcnns.files.places import is_file, is_folder
from htcnns.image.member_input import Preprocessing
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import Label, Region, RegionSet, Sequence
from htcnns.networks import outline_network
from htcnns.networks.contract import Head, Network
from htcnns.volume import Shape

OWN_BRAIN = "z-scores: here over each sequence's own brain mask, in the original program over one mask of all sequences"
BY_REGION = (
    "masks: here regions are cut at a summed probability of 0.5, in the original program the likeliest label wins"
)
WINDOWS_OF_LOGITS = "means over windows: here of probabilities, in the original program of logits"
UNCLEANED = PostprocessRules(et_component_voxels=0, et_total_voxels=0)  # the network's output as it is


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is needed to run a member, except its tensors; fields that are not explained here are those of `Member`.

    Attributes:
        preprocessing: what its own program does with the brain before the z-score.
        made_by: where it was trained, for readers; copied into the manifest.
        notes: one sentence for each difference between our program and its own.
    """

    network: str
    size: dict[str, Any]
    sequences: tuple[Sequence, ...]
    regions: RegionSet
    head: Head
    outputs: tuple[Region, ...] | tuple[Label, ...]
    window: Shape
    mirror: str = ""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    rules: PostprocessRules = UNCLEANED
    made_by: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def in_order(self, named: tuple[Sequence, ...], *, taken: str) -> Self:
        """The same with the sequences that the user named, or with a note that they are assumed where no file says.

        Args:
            named: all of its sequences in the network's order; () where the user named none.
            taken: reason why they are assumed, as in `Kind.order`.
        """
        if named:
            return replace(self, sequences=named)
        note = f"sequences: assumed to be {', '.join(self.sequences)}, {taken}; the checkpoint does not say so"
        return replace(self, notes=(*self.notes, note)) if taken else self

    def outline(self, place: object) -> Network:
        """The network without memory for its tensors.

        Raises:
            WeightsError: the network cannot be built, exceeds the limits, or cannot take its window.
        """
        n_in, n_out = len(self.sequences), len(self.outputs)
        try:
            return outline_network(self.network, self.size, self.window, n_in=n_in, n_out=n_out)
        except SettingsError as error:
            raise error.inside(place, kind=WeightsError, remedy="Such weights cannot be used here.") from error


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """One checkpoint, translated to one of our networks.

    Attributes:
        description: the same for every fold of a network.
        tensors: tensors by our names, in the network's shapes; float32, or whole numbers where they are counts.
        checkpoint, sha256: the file that was read, and its digest.
        original: logits of the network's own code for (1, n_in, I, J, K); None where that is not installed.
    """

    description: Description
    tensors: dict[str, Tensor]
    checkpoint: Path
    sha256: str
    original: Callable[[Tensor], Tensor | None]


@dataclass(frozen=True)
class Kind:
    """A family of checkpoints.

    Attributes:
        title: human-readable name.
        find: function that returns the checkpoints that a path stands for.
        read: function that reads one checkpoint.
        order: why its sequences are assumed, such as "as in its code"; "" where the files name them.
    """

    title: str
    find: Callable[[Path], tuple[Path, ...]]
    read: Callable[[Path], Foreign]
    order: str = ""


def the_file_itself(path: Path) -> tuple[Path, ...]:
    """The path itself, for families with one file per checkpoint and nothing beside it."""
    return (path,)


def find_named(path: Path, *, names: tuple[str, ...]) -> tuple[Path, ...]:
    """The checkpoint itself, or all files in a folder that match the first of the names with a match.

    Args:
        names: file names below the folder; may contain "*".

    Raises:
        WeightsError: the folder has no match for any name.
    """
    if not is_folder(path):
        return (path,)
    for name in names:
        if found := sorted(each for each in path.glob(name) if is_file(each)):
            return tuple(found)
    raise WeightsError(
        f"no {names[0]} there",
        place=path,
        expected=" or ".join(names),
        remedy="Give that folder, or the checkpoints themselves.",
    )


def without_original(_: Tensor) -> None:
    """None, as `Foreign.original` of families whose own code cannot be installed."""
