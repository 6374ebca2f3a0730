"""A member of the ensemble and its files: everything about it except its tensors."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from htcnns.errors import SettingsError
from htcnns.image.member_input import Preprocessing
from htcnns.image.postprocess import PostprocessRules
from htcnns.image.windows import MIRROR_AXES, mirror_axes
from htcnns.labels import GLIOMA, SEQUENCES, Label, Region, RegionSet, Sequence
from htcnns.networks.contract import Head
from htcnns.volume import Shape


@dataclass(frozen=True)
class WeightsFile:
    """One file of a member (one fold), and the checksum it must have."""

    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Member:
    """One voice of the ensemble: everything about it except its tensors.

    Attributes:
        name: unique name by which it is chosen; two members may share a network.
        title: human-readable name.
        network: a name in networks.NETWORKS.
        size: arguments of the network's class.
        files: one weights file per fold; their probabilities are averaged.
        sequences: input channels, some or all of the four, in the network's order.
        regions: regions that the member predicts, and how they are written as a label map.
        head: whether the network's output channels are regions or labels.
        outputs: output channels in the network's order: the regions of the set under a sigmoid; the background and the
            labels of the set under a softmax.
        window: edges in voxels.
        whole: edges of the largest window that may cover a whole brain at once when no overlap is requested; None where
            windows always slide.
        box: fixed box to pad the brain to, or None.
        mirror: axes to mirror over unless a run chooses others, letters of "ijk".
        preprocessing: how its input differs from the brain prepared for all members; windows lie in this input.
        rules: thresholds and clean-up of its probabilities.
        trained_on, scores: information for readers; copied into reports.

    Raises:
        SettingsError: no or repeated sequences, outputs that do not fit the regions and the head, rules on other
            regions, or unknown or repeated axes.
    """

    name: str
    title: str
    network: str
    size: dict[str, Any]
    files: tuple[WeightsFile, ...]
    sequences: tuple[Sequence, ...] = SEQUENCES
    regions: RegionSet = GLIOMA
    head: Head = Head.SIGMOID
    outputs: tuple[Region, ...] | tuple[Label, ...] = GLIOMA.regions
    window: Shape = (128, 128, 128)
    whole: Shape | None = None
    box: Shape | None = None
    mirror: str = ""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    rules: PostprocessRules = field(default_factory=PostprocessRules)
    trained_on: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require_sequences(self.sequences)
        _require_outputs(self.outputs, self.regions, self.head)
        self.rules.require_regions(self.regions)
        require_axes(self.mirror)


def require_axes(letters: str) -> None:
    """Raise SettingsError unless these are axes to mirror over."""
    try:
        mirror_axes(letters)
    except ValueError as error:
        raise SettingsError(
            "mirror is not a choice of axes", found=repr(letters), expected=f"letters of {MIRROR_AXES}, each once"
        ) from error


def _require_sequences(sequences: tuple[Sequence, ...]) -> None:
    if not sequences or len(set(sequences)) < len(sequences):
        raise SettingsError(
            "impossible sequences",
            found=", ".join(sequences) or "none",
            expected=f"some of {', '.join(SEQUENCES)}, each once",
        )


def _require_outputs(outputs: tuple[Region, ...] | tuple[Label, ...], regions: RegionSet, head: Head) -> None:
    """Raise SettingsError unless the output channels fit the head and the region set."""
    names = [output.name for output in outputs]
    if head is Head.SIGMOID:
        expected = [region.name for region in regions.regions]
        fits = set(outputs) == set(regions.regions)
    else:
        expected = [Label.BACKGROUND.name, *(label.name for label in regions.labels)]
        fits = names[:1] == expected[:1] and set(outputs) == {Label.BACKGROUND, *regions.labels}
    if not fits or len(set(names)) < len(names):
        first = "" if head is Head.SIGMOID else f", {Label.BACKGROUND.name} first"
        raise SettingsError(
            f"the outputs of the {head} do not fit {regions.name}",
            found=", ".join(names) or "none",
            expected=f"{', '.join(expected)} in some order{first}",
        )
