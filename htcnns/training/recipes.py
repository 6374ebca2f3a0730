"""Recipes: everything that decides how members are trained."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

import torch

from htcnns.errors import SettingsError, require_known
from htcnns.files.member import require_axes
from htcnns.files.prepared_cases import CaseKind
from htcnns.image.member_input import Preprocessing
from htcnns.image.postprocess import PostprocessRules
from htcnns.labels import GLIOMA, SEQUENCES, Label, Region, RegionSet, Sequence
from htcnns.networks import NETWORKS, build_network
from htcnns.networks.contract import Head, outputs_of, require_window
from htcnns.networks.limits import require_edges
from htcnns.training.augment import Augmentation
from htcnns.training.losses import LossWeights
from htcnns.volume import Shape

LOSSES = ("dice", "generalised_dice", "entropy", "key_point")  # parts of the loss; a recipe has a weight for each
OPTIMIZERS = ("adam", "adamw")
PRECISIONS = ("bf16", "fp16", "fp32")
_REMEDY = "Correct the recipe."


@dataclass(frozen=True, kw_only=True)
class Round:
    """One stage of a fit: the learning rate warms up, then falls to zero.

    Attributes:
        steps: length as a number of weight updates; 0 if `epochs` sets it.
        epochs: length as a number of passes over the cases; 0 if `steps` sets it.
        learning_rate: peak rate, reached after the warm-up; it then falls to zero along half a cosine.
        warmup: length of the linear warm-up, in epochs if `epochs` sets the round's length, else in steps.
        patches: (share of the round's steps done, edges from then on in voxels); small patches first, for more steps.
        variety: how patches are drawn and augmented.
    """

    steps: int = 0
    epochs: int = 0
    learning_rate: float = 1.5e-3
    warmup: int = 40
    patches: tuple[tuple[float, Shape], ...] = ((0.0, (64, 64, 64)), (0.6, (96, 96, 96)))
    variety: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if (self.steps > 0) == (self.epochs > 0) or min(self.steps, self.epochs) < 0:
            raise _impossible(
                "steps", f"{self.steps} steps and {self.epochs} epochs", "one of them above 0, the other 0"
            )
        if not self.patches or self.patches[0][0] != 0:
            raise _impossible("patches", self.patches, "shares of the round that begin with 0")
        if not self.learning_rate > 0:
            raise _impossible("learning_rate", self.learning_rate, "a number above 0")

    def n_steps(self, n_cases: int, batch: int) -> int:
        """Number of updates on `n_cases` cases, with `batch` patches per update."""
        return self.steps or math.ceil(self.epochs * n_cases / batch)

    def patch_at(self, step: int, n_steps: int) -> Shape:
        """Edges of the patches at `step` of `n_steps`."""
        return [shape for share, shape in self.patches if step >= share * n_steps][-1]

    def learning_rate_at(self, step: int, n_steps: int) -> float:
        """The rate at a step: linear warm-up, then half a cosine; rounds shorter than their warm-up only warm up."""
        warmup = round(self.warmup * n_steps / self.epochs) if self.epochs else self.warmup
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        done = (step - warmup) / max(1, n_steps - warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


@dataclass(frozen=True, kw_only=True)
class MemberRecipe:
    """One member: a network, its size, and how it is trained.

    Attributes:
        name: name of the member, which need not be its network's.
        title: human-readable name.
        network: a key of NETWORKS.
        size: a key of the network's sizes, or the arguments of its class.
        rounds: consecutive stages of the fit, with one optimizer.
    """

    name: str
    title: str
    network: str
    size: str | Mapping[str, Any]
    rounds: tuple[Round, ...]

    def __post_init__(self) -> None:
        require_known(self.network, NETWORKS, what="network", setting="network", place=self.name)
        if isinstance(self.size, str):
            require_known(self.size, NETWORKS[self.network].sizes, what="size", setting="size", place=self.name)
        if not self.rounds:
            raise _impossible("rounds", "none", "at least one round").at(self.name)

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments of the network's class."""
        return NETWORKS[self.network].sizes[self.size] if isinstance(self.size, str) else self.size


@dataclass(frozen=True)
class Addition:
    """A part of a recipe that an ablation removes, as the changes that remove it.

    Attributes:
        name: name of the part in tables.
        arguments: arguments of the networks' class without the part.
        settings: numbers of the recipe without the part.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        numbers = [each.name for each in fields(Recipe) if each.type in (float, "float")]
        if not re.fullmatch(r"[\w-]+", self.name):
            raise _impossible("name", repr(self.name), "letters, digits, - and _, as folders are named after it")
        for name in self.settings:
            require_known(name, numbers, what="numeric setting", setting="settings", place=self.name)

    def taken_from(self, recipe: "Recipe") -> "Recipe":
        """The recipe without this part; raises SettingsError if a network does not accept the arguments."""
        members = [replace(each, size={**each.arguments, **self.arguments}) for each in recipe.members]
        changes: dict[str, Any] = {"members": tuple(members), **self.settings}
        return replace(recipe, **changes)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a set of members is trained, the same for folds and for shipped weights.

    Attributes:
        name: name of the recipe.
        title: purpose of the recipe.
        members: members of the set, all trained on the same cases.
        regions: regions that the members predict.
        head: whether the outputs are regions that may overlap or labels that exclude each other.
        sequences: input sequences, in the order of the channels.
        preprocessing: how the input is made from the brain; patches and windows are cut from the result.
        batch: number of patches per step, over all processes together.
        echoes: number of times that a drawn patch is shown, each with new mirroring; above 1 where drawing is slow.
        optimizer: "adam" or "adamw".
        weight_decay: weight decay of the optimizer.
        dice_weight: weight of the Dice loss of each region or label.
        generalised_dice_weight: weight of the Dice loss of all regions together, in which small ones count more.
        entropy_weight: weight of the cross-entropy.
        key_point_weight: weight of the loss for missed voxels near key points on the boundaries of WT, TC and ET.
        empty_share: fraction of a patch's voxels that, if predicted where a region is empty, cost half of the Dice
            loss; with 0, a single voxel does.
        clip_norm: largest gradient norm; larger gradients are scaled down to it. 0 turns clipping off.
        average: decay per step of the moving average of the weights, which a fit returns; 0 returns the last weights.
        precision: precision of forward and backward passes.
        recompute_activations: whether the backward pass recomputes activations, with the same weights as result; the
            compact networks then store 21 to 55 % as much and take 9 to 19 % more time (measured, on a CPU).
        mix: sampling weight of each kind of case; a step draws one kind, and kinds without cases are left out.
        piece_patch: edges of patches drawn from pieces, which are smaller than heads.
        window: edges of the windows in which the members segment.
        whole: edges of the largest window in which a whole brain may be seen at once; if no larger than `window`, the
            members always use sliding windows.
        mirror: axes over which the input is mirrored in segmentation, letters of "ijk".
        rules: thresholds and clean-up of the members.
        additions: parts that an ablation removes.
        seed: seed of weights and patches; a step's patches depend on the seed and the step alone.
        checkpoint_steps: number of steps between checkpoints.
    """

    name: str
    title: str
    members: tuple[MemberRecipe, ...]
    regions: RegionSet = GLIOMA
    head: Head = Head.SIGMOID
    sequences: tuple[Sequence, ...] = SEQUENCES
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    batch: int = 1
    echoes: int = 1
    optimizer: str = "adamw"
    weight_decay: float = 1e-2
    dice_weight: float = 1.0
    generalised_dice_weight: float = 0.0
    entropy_weight: float = 1.0
    key_point_weight: float = 0.0
    empty_share: float = 0.0
    clip_norm: float = 5.0
    average: float = 0.99
    precision: str = "bf16"
    recompute_activations: bool = False
    mix: Mapping[CaseKind, float] = field(default_factory=lambda: MappingProxyType({CaseKind.HEAD: 1.0}))
    piece_patch: Shape = (64, 64, 64)
    window: Shape = (128, 128, 128)
    whole: Shape = (128, 128, 128)
    mirror: str = ""
    rules: PostprocessRules = field(default_factory=PostprocessRules)
    additions: tuple[Addition, ...] = ()
    seed: int = 2412
    checkpoint_steps: int = 50

    def __post_init__(self) -> None:
        names = [member.name for member in self.members]
        if not names or len(set(names)) < len(names):
            raise _impossible("members", ", ".join(names) or "none", "members with different names")
        require_known(self.optimizer, OPTIMIZERS, what="optimizer", setting="optimizer")
        require_known(self.precision, PRECISIONS, what="precision", setting="precision")
        for setting in ("batch", "echoes", "checkpoint_steps"):
            if getattr(self, setting) < 1:
                raise _impossible(setting, getattr(self, setting), "at least 1")
        parts = [addition.name for addition in self.additions]
        if len(set(parts)) < len(parts):
            raise _impossible("additions", ", ".join(parts), "additions with different names")
        if not 0 <= self.average < 1:
            raise _impossible("average", self.average, "0 <= average < 1")
        self._require_losses()
        if not 0 <= self.empty_share < 1:
            raise _impossible("empty_share", self.empty_share, "0 <= empty_share < 1")
        if not self.sequences or len(set(self.sequences)) < len(self.sequences):
            raise _impossible("sequences", ", ".join(self.sequences), "each sequence at most once")
        if min(self.mix.values(), default=0) < 0 or sum(self.mix.values()) <= 0:
            raise _impossible("mix", dict(self.mix), "weights of at least 0, one of them above 0")
        require_axes(self.mirror)
        self.rules.require_regions(self.regions)
        if self.preprocessing.resize and self.mix.get(CaseKind.PIECE, 0) > 0:
            raise _impossible("mix", dict(self.mix), "no pieces, as a piece of a brain cannot be resized as a whole")
        for what, shape in (("window", self.window), ("whole", self.whole), ("resize", self.preprocessing.resize)):
            if shape:
                require_edges(shape, what=what, remedy=_REMEDY)
        for member in self.members:
            self._require_patches(member)

    @property
    def outputs(self) -> tuple[Region, ...] | tuple[Label, ...]:
        """The region or label of each channel of the logits."""
        return outputs_of(self.regions, self.head)

    @property
    def loss_weights(self) -> LossWeights:
        """The weights of the parts of the loss."""
        return LossWeights(
            dice=self.dice_weight,
            generalised_dice=self.generalised_dice_weight,
            entropy=self.entropy_weight,
            key_points=self.key_point_weight,
            empty_share=self.empty_share,
            head=self.head,
        )

    def member(self, name: str) -> MemberRecipe:
        """The member of that name.

        Raises:
            SettingsError: an unknown name; the message lists the known ones.
        """
        by_name = {member.name: member for member in self.members}
        require_known(name, by_name, what="member", setting="members")
        return by_name[name]

    def _require_losses(self) -> None:
        """Raise SettingsError unless the parts of the loss have weights that the head allows."""
        for setting in (f"{part}_weight" for part in LOSSES):
            if not 0 <= getattr(self, setting) < math.inf:
                raise _impossible(setting, getattr(self, setting), "a number of at least 0")
        if not self.dice_weight + self.generalised_dice_weight + self.entropy_weight > 0:
            raise _impossible("dice_weight", "0, as all others", "a number above 0 for one of them")
        if self.head is not Head.SIGMOID and self.generalised_dice_weight + self.key_point_weight > 0:
            raise _impossible("head", self.head, f"{Head.SIGMOID}, for losses per region")

    def _require_patches(self, member: MemberRecipe) -> None:
        """Raise SettingsError unless the member's network takes every patch and window."""
        with torch.device("meta"):  # only its shapes are needed
            network = build_network(member.network, member.arguments)
        shapes = [shape for each in member.rounds for _, shape in each.patches]
        for shape in (*shapes, self.window, self.whole, *([self.piece_patch] if CaseKind.PIECE in self.mix else [])):
            require_window(shape, network.multiple, network=member.name)


def _impossible(setting: str, found: object, expected: str) -> SettingsError:
    return SettingsError("impossible value", setting=setting, found=found, expected=expected, remedy=_REMEDY)
