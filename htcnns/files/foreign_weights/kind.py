"""What a kind of foreign weights is, and what reading one of its files gives."""

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

OWN_BRAIN = "z-scores: here within the brain of each sequence, in its own program within that of all sequences together"
BY_REGION = (
    "masks: here regions are cut at half of their summed probability, in its own program the likeliest label counts"
)
WINDOWS_OF_LOGITS = "means over windows: here of probabilities, in its own program of logits"
UNCLEANED = PostprocessRules(et_component_voxels=0, et_total_voxels=0)  # what the network says, as it says it


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a member needs to be run, besides its tensors; that of a `Member`, in the same words.

    Attributes:
        preprocessing: what its own program does with the brain before it z-scores it.
        made_by: people's words for where it was trained; copied into the manifest.
        notes: one sentence for each thing that runs here otherwise than there.
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
        """The same with the sequences that a person named, or with a note on those that are taken where no file says.

        Args:
            named: all of its sequences in the order of the network; () where nobody named them.
            taken: why they are taken to be as they are, as of `Kind`.
        """
        if named:
            return replace(self, sequences=named)
        note = f"sequences: taken to be {', '.join(self.sequences)}, {taken}; the checkpoint does not say so"
        return replace(self, notes=(*self.notes, note)) if taken else self

    def outline(self, place: object) -> Network:
        """The network without memory for its tensors.

        Raises:
            WeightsError: a network that cannot be built, is above the limits, or cannot take its window.
        """
        n_in, n_out = len(self.sequences), len(self.outputs)
        try:
            return outline_network(self.network, self.size, self.window, n_in=n_in, n_out=n_out)
        except SettingsError as error:
            raise error.inside(place, kind=WeightsError, remedy="Such weights cannot be used here.") from error


@dataclass(frozen=True, kw_only=True)
class Foreign:
    """One checkpoint in our words.

    Attributes:
        description: the same for every fold of a network.
        tensors: by our names, float32 and counts, of the network's shapes.
        checkpoint, sha256: the file that was read, and of its content.
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
        title: what people call it.
        find: the checkpoints that a path stands for.
        read: one of them.
        order: why its sequences are taken to be as they are, such as "as its code has them"; "" where the files say it.
    """

    title: str
    find: Callable[[Path], tuple[Path, ...]]
    read: Callable[[Path], Foreign]
    order: str = ""


def the_file_itself(path: Path) -> tuple[Path, ...]:
    """The checkpoint of families that keep each in one file with nothing beside it."""
    return (path,)


def find_named(path: Path, *, names: tuple[str, ...]) -> tuple[Path, ...]:
    """The checkpoint itself, or of a folder those of the first of these names that there are.

    Args:
        names: below the folder; may hold "*".

    Raises:
        WeightsError: a folder without any.
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
    """What families give whose code cannot be installed."""
