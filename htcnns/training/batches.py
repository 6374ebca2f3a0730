"""Batches of patches: the cases that a step shows, as tensors; each draw depends only on the seed and the step."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from htcnns.errors import InputError
from htcnns.files.prepared_cases import Card, CaseKind, PreparedCase
from htcnns.image.key_points import BITS
from htcnns.labels import SEQUENCES, Region, RegionSet, Sequence
from htcnns.networks.contract import Head, outputs_of
from htcnns.training.augment import Augmentation
from htcnns.training.echoes import DISTANCE, STEPS_AHEAD, draw_number
from htcnns.training.recent import Recent
from htcnns.training.samples import Patch, draw, draw_axes, mirrored
from htcnns.volume import Shape

_TOLD: Mapping[Head, str] = MappingProxyType(  # what a case's truth must annotate for training
    {Head.SIGMOID: "a region", Head.SOFTMAX: "every region"}
)


class Cases(Protocol):
    """Packed cases by name, such as a CaseStore."""

    def __getitem__(self, name: str) -> PreparedCase: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Patches as a network takes them.

    Attributes:
        x: (B, n_sequences, *shape) float32, channels last in memory.
        truth: (B, C, *shape) bool of the regions, or of the background and the labels, in the order of the logits.
        known: (B, C) bool, channels that the truth of each patch annotates.
        inside: (B, 1, *shape) bool, where scans and truth are known; None for everywhere.
        names: case of each patch.
        keys: (B, R, *shape) bool, part of each region inside the balls around its key points; None without key points.
    """

    x: Tensor
    truth: Tensor
    known: Tensor
    inside: Tensor | None
    names: tuple[str, ...]
    keys: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        return Batch(
            x=self.x.to(device, non_blocking=True),
            truth=self.truth.to(device, non_blocking=True),
            known=self.known.to(device),
            inside=None if self.inside is None else self.inside.to(device, non_blocking=True),
            names=self.names,
            keys=None if self.keys is None else self.keys.to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class _Wanted:
    """What to draw: the kind of case, the edges of the patch, and how it is varied."""

    kind: CaseKind
    shape: Shape
    variety: Augmentation


@dataclass(frozen=True, kw_only=True)
class BatchSource:
    """Where a fit's patches come from.

    Attributes:
        store: the cases.
        names: sorted names of the cases that the fit may see, by kind.
        mix: weight of each kind when a step is drawn.
        regions, head: meaning of the truth's channels.
        sequences: channels of the input.
        piece_patch: edges of the patches drawn from pieces.
        seed: seed of all draws.
        n_echoes: number of times a drawn patch is shown, mirrored differently each time.
        recent: cache of patches that will be shown again.
    """

    store: Cases
    names: Mapping[CaseKind, tuple[str, ...]]
    mix: Mapping[CaseKind, float]
    regions: RegionSet
    sequences: tuple[Sequence, ...]
    piece_patch: Shape
    seed: int
    head: Head = Head.SIGMOID
    n_echoes: int = 1
    recent: Recent[tuple[str, Patch]] = field(default_factory=lambda: Recent(0))

    @property
    def n_cases(self) -> int:
        """Number of cases that the fit may see."""
        return sum(map(len, self.names.values()))

    def draw(self, step: int, shape: Shape, variety: Augmentation, slots: Iterable[int]) -> Batch:
        """The patches of a step.

        Args:
            shape: edges of the patches, unless the step shows pieces.
            slots: indices of the patches in the step, counted over all processes; each has its own random numbers.
        """
        number = draw_number(step, self.n_echoes)
        kind = self._kind(number)
        edges = self.piece_patch if kind is CaseKind.PIECE else shape
        drawn = [self._shown(step, number, slot, _Wanted(kind, edges, variety)) for slot in slots]
        return self._batch([patch for _, patch in drawn], tuple(name for name, _ in drawn))

    def _kind(self, number: int) -> CaseKind:
        kinds = list(self.names)
        weights = np.array([self.mix[kind] for kind in kinds])
        rng = np.random.default_rng((self.seed, number))
        return kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]

    def _shown(self, step: int, number: int, slot: int, wanted: _Wanted) -> tuple[str, Patch]:
        """The name of the case and the patch of that draw, mirrored as for that step."""

        def make() -> tuple[str, Patch]:
            return self._drawn(wanted, np.random.default_rng((self.seed, number, slot)))

        if self.n_echoes == 1:
            return make()
        name, patch = self.recent.get((number, slot, wanted), make)
        axes = draw_axes(wanted.variety, np.random.default_rng((self.seed, step, slot, self.n_echoes)))
        return name, mirrored(patch, axes)

    def _drawn(self, wanted: _Wanted, rng: np.random.Generator) -> tuple[str, Patch]:
        name = self._one_of(self.names[wanted.kind], rng)
        return name, draw(self.store[name], wanted.shape, rng, variety=wanted.variety, donors=self._donor)

    def _donor(self, rng: np.random.Generator) -> PreparedCase:
        """A random whole head to take a tumour from, a real one if there are any."""
        kind = CaseKind.HEAD if CaseKind.HEAD in self.names else CaseKind.SYNTHETIC
        return self.store[self._one_of(self.names[kind], rng)]

    def _one_of(self, names: tuple[str, ...], rng: np.random.Generator) -> str:
        return names[int(rng.integers(len(names)))]

    def _batch(self, patches: list[Patch], names: tuple[str, ...]) -> Batch:
        insides = [patch.inside for patch in patches if patch.inside is not None]
        keys = [_near_keys(patch.label_map, patch.keys, self.regions) for patch in patches if patch.keys is not None]
        channels = [SEQUENCES.index(sequence) for sequence in self.sequences]
        return Batch(
            x=_channels_last([patch.array for patch in patches], channels),
            truth=torch.from_numpy(np.stack([_truth(patch.label_map, self.regions, self.head) for patch in patches])),
            known=torch.tensor([_known(patch.known, self.regions, self.head) for patch in patches]),
            inside=torch.from_numpy(np.stack(insides)[:, None]) if insides else None,
            names=names,
            keys=torch.from_numpy(np.stack(keys)) if keys else None,
        )


def batch_source(
    store: Cases,
    cards: Iterable[Card],
    *,
    mix: Mapping[CaseKind, float],
    regions: RegionSet,
    sequences: tuple[Sequence, ...],
    piece_patch: Shape,
    seed: int,
    head: Head = Head.SIGMOID,
    n_echoes: int = 1,
    batch: int = 1,
) -> BatchSource:
    """The source of a fit's patches; kinds without cases or without weight are left out.

    Args:
        batch: patches per step, which decides how many are kept for echoes; the others are attributes of BatchSource.

    Raises:
        InputError: no case of a kind with a weight that has one of the sequences and whose truth annotates one of the
            regions (all of them for exclusive labels, as a missing one would count as background).
    """
    able = [card for card in cards if any(_known(card.known, regions, head)) and set(card.sequences) & set(sequences)]
    names = {kind: tuple(sorted(card.name for card in able if card.kind is kind)) for kind, w in mix.items() if w > 0}
    there = {kind: found for kind, found in names.items() if found}
    if not there:
        raise InputError(
            "no case to train on",
            found=f"{len(able)} cases that annotate {_TOLD[head]} of {regions.name}",
            expected=f"cases of a kind that the recipe mixes: {', '.join(names)}",
            remedy="Pack other cases or change the recipe's mix.",
        )
    return BatchSource(
        store=store,
        names=there,
        mix=mix,
        regions=regions,
        sequences=sequences,
        piece_patch=piece_patch,
        seed=seed,
        head=head,
        n_echoes=n_echoes,
        recent=Recent(batch * (DISTANCE + STEPS_AHEAD)),
    )


def _channels_last(arrays: list[np.ndarray], channels: list[int]) -> Tensor:
    """(B, C, …) float32 of these channels of the arrays, channels last in memory; a single copy, even of views."""
    x = np.empty((len(arrays), *arrays[0].shape[1:], len(channels)), np.float32)
    for into, array in zip(x, arrays, strict=True):
        for number, channel in enumerate(channels):
            into[..., number] = array[channel]
    return torch.from_numpy(x).movedim(-1, 1)


def _known(known: tuple[Region, ...], regions: RegionSet, head: Head) -> list[bool]:
    """Whether a truth with these known regions annotates each channel; exclusive labels: all of them or none."""
    told = [region in known for region in regions.regions]
    return told if head is Head.SIGMOID else [all(told)] * len(outputs_of(regions, head))


def _truth(label_map: np.ndarray, regions: RegionSet, head: Head) -> np.ndarray:
    """(C, …) bool of the regions, or of the labels that the set writes for them."""
    masks = _masks(label_map, regions.regions)
    if head is Head.SIGMOID:
        return masks
    written = regions.compose(masks)
    return np.stack([written == label for label in outputs_of(regions, head)])


def _masks(label_map: np.ndarray, regions: tuple[Region, ...]) -> np.ndarray:
    """(R, …) bool; made by comparison, which is ten times faster than a lookup table."""
    masks = {label: label_map == label for region in regions for label in region.value}
    return np.stack([np.logical_or.reduce([masks[label] for label in region.value]) for region in regions])


def _near_keys(label_map: np.ndarray, keys: np.ndarray, regions: RegionSet) -> np.ndarray:
    """(R, …) bool, part of each region inside the balls around its key points; all False without key points."""
    balls = np.stack([keys & BITS.get(region, 0) > 0 for region in regions.regions])
    return balls & _masks(label_map, regions.regions)
