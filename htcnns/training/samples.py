"""Random, augmented patches of prepared cases; a generator in the same state draws the same patch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from htcnns.files.prepared_cases import CaseKind, PreparedCase
from htcnns.image.key_points import key_map
from htcnns.labels import SEQUENCES, Label, Region, Sequence
from htcnns.training.artefacts import add_noise, coarsen, drop_sequences, misregister, shade, thicken_slices
from htcnns.training.augment import Augmentation
from htcnns.training.contrast import Curve, draw_curves
from htcnns.training.pose import change_pose, wanted_margin
from htcnns.training.transplant import BLEND_REACH, blend, carve, matched, quench_enhancement
from htcnns.volume import Shape, bounding_box

Donors = Callable[[np.random.Generator], PreparedCase]

_ARTEFACTS = (
    ("misregister_share", misregister),
    ("thick_share", thicken_slices),
    ("coarse_share", coarsen),
    ("bias_share", shade),
    ("noise_share", add_noise),
    ("drop_share", drop_sequences),
)
_SPARSE = (slice(None, None, 2),) * 3  # enough voxels to compare the tissue of two heads
_T1N, _T1C = SEQUENCES.index(Sequence.T1N), SEQUENCES.index(Sequence.T1C)


@dataclass(frozen=True, kw_only=True, eq=False)
class Patch:
    """One patch as a network is shown it.

    Attributes:
        array: (4, *shape) float32 intensities, 0 outside the brain and where a sequence is missing.
        label_map: (*shape) uint8 truth.
        known: regions that the truth annotates.
        inside: (*shape) bool, where scans and truth are known; None for everywhere.
        keys: (*shape) uint8, balls around key points as `key_map` marks them; None for a case without such points.
    """

    array: np.ndarray
    label_map: np.ndarray
    known: tuple[Region, ...]
    inside: np.ndarray | None
    keys: np.ndarray | None = None


def mirrored(patch: Patch, axes: tuple[int, ...]) -> Patch:
    """The patch flipped along the given spatial axes, numbered 0 to 2; views of its arrays."""
    return Patch(
        array=np.flip(patch.array, tuple(1 + axis for axis in axes)),
        label_map=np.flip(patch.label_map, axes),
        known=patch.known,
        inside=None if patch.inside is None else np.flip(patch.inside, axes),
        keys=None if patch.keys is None else np.flip(patch.keys, axes),
    )


def draw_axes(variety: Augmentation, rng: np.random.Generator) -> tuple[int, ...]:
    """Random axes along which to flip a patch."""
    return tuple(axis for axis in range(3) if rng.random() < variety.flip_share)


def draw(
    case: PreparedCase,
    shape: Shape,
    rng: np.random.Generator,
    *,
    variety: Augmentation,
    donors: Donors | None = None,
) -> Patch:
    """A random, augmented patch.

    Args:
        case: case that the patch is cut from.
        shape: edges in voxels; a smaller case is padded with zeros.
        variety: where patches lie and how often each change is made.
        donors: function that draws a case whose tumour may be transplanted; None for no transplants.
    """
    margin, grid = wanted_margin(shape, variety, rng)
    view = _View(
        draw_curves(len(SEQUENCES), variety, rng), quenched=_may_quench(case) and _happens("quench", variety, rng)
    )
    donor = _donor(case, variety, rng, donors)
    corner = _corner(donor or case, shape, rng, tumour_share=1.0 if donor else variety.tumour_share)
    there = _same_place(corner, shape, donor, case) if donor else corner
    cut = _cut(case, there - margin, shape + 2 * margin, view)
    if donor:
        cut = _transplanted(cut, case, donor, _cut(donor, corner - margin, shape + 2 * margin, view), view, rng)
    array, label_map, inside, keys = cut.array, cut.label_map, cut.inside, cut.keys
    if grid is not None:
        marks = inside if keys is None else inside + 2 * keys
        array, (label_map, marks) = change_pose(array, np.stack([label_map, marks]), grid)
        inside, keys = marks % 2 > 0, None if keys is None else marks // 2
    if view.quenched:
        array, label_map = quench_enhancement(array[:-1], label_map, array[-1])
    for share, change in _ARTEFACTS:
        if _happens(share, variety, rng):
            array = change(array, rng)
    drawn = Patch(
        array=array,
        label_map=label_map,
        known=case.card.known,
        inside=inside if case.card.kind is CaseKind.PIECE else None,
        keys=keys,
    )
    return mirrored(drawn, draw_axes(variety, rng))


@dataclass(frozen=True)
class _View:
    """How stored numbers become intensities in one patch: a curve for each channel.

    Attributes:
        curves: curve of each sequence.
        quenched: whether a fifth channel shows the t1n in the contrast of the t1c.
    """

    curves: tuple[Curve, ...]
    quenched: bool

    @property
    def channels(self) -> tuple[tuple[int, Curve], ...]:
        """The index of each channel's sequence, and its curve."""
        plain = tuple(enumerate(self.curves))
        return (*plain, (_T1N, self.curves[_T1C])) if self.quenched else plain


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cut:
    """A box of a case before pose and artefacts: numbers, intensities (C, …), truth, known voxels, key-point balls."""

    numbers: np.ndarray
    array: np.ndarray
    label_map: np.ndarray
    inside: np.ndarray
    keys: np.ndarray | None


def _happens(what: str, variety: Augmentation, rng: np.random.Generator) -> bool:
    share: float = getattr(variety, what if what.endswith("_share") else f"{what}_share")
    return share > 0 and rng.random() < share


def _may_quench(case: PreparedCase) -> bool:
    return {Sequence.T1N, Sequence.T1C} <= set(case.card.sequences)


def _donor(
    case: PreparedCase, variety: Augmentation, rng: np.random.Generator, donors: Donors | None
) -> PreparedCase | None:
    """Another case to transplant a tumour from; None for no transplant, or if it lacks a sequence, region or tumour."""
    if donors is None or case.card.kind is CaseKind.PIECE or not _happens("transplant", variety, rng):
        return None
    donor = donors(rng)
    shows = set(case.card.sequences) <= set(donor.card.sequences) and set(case.card.known) <= set(donor.card.known)
    return donor if shows and donor.card.name != case.card.name and _tumour_labels(donor) else None


def _tumour_labels(case: PreparedCase) -> list[int]:
    return [label for label in case.places if label != Label.BACKGROUND]


def _corner(case: PreparedCase, shape: Shape, rng: np.random.Generator, *, tumour_share: float) -> np.ndarray:
    """Lowest corner of a patch around a random voxel, moved by up to a quarter of the edge and kept inside the case."""
    labels = _tumour_labels(case)
    wanted = int(rng.choice(labels)) if labels and rng.random() < tumour_share else int(Label.BACKGROUND)
    places = case.places.get(wanted)
    edges = np.array(shape)
    middle = edges // 2 if places is None else places[rng.integers(len(places))]
    corner = middle - edges // 2 + rng.integers(-(edges // 4), edges // 4 + 1)
    return _kept_inside(corner, edges, case.card.shape)


def _same_place(corner: np.ndarray, shape: Shape, donor: PreparedCase, host: PreparedCase) -> np.ndarray:
    """The corner of the host's patch at the same relative position in the head as the donor's patch."""
    edges = np.array(shape)
    middle = (corner + edges / 2) / donor.card.shape * host.card.shape
    return _kept_inside(np.rint(middle - edges / 2).astype(int), edges, host.card.shape)


def _kept_inside(corner: np.ndarray, edges: np.ndarray, shape: Shape) -> np.ndarray:
    room = np.array(shape) - edges
    return np.where(room > 0, np.clip(corner, 0, np.maximum(room, 0)), room // 2)


def _cut(case: PreparedCase, corner: np.ndarray, edges: np.ndarray, view: _View) -> _Cut:
    """The box with this lowest corner and these edges; zeros where it reaches beyond the case."""
    numbers = _box(case.array, corner, edges)
    known = np.ones((1, *case.card.shape), bool) if case.inside is None else case.inside[None]
    return _Cut(
        numbers=numbers,
        array=_shown(numbers, case.table, view),
        label_map=_box(case.label_map[None], corner, edges)[0],
        inside=_box(known, corner, edges)[0],
        keys=None if case.key_points is None else key_map(case.key_points, corner, edges),
    )


def _shown(numbers: np.ndarray, table: np.ndarray, view: _View) -> np.ndarray:
    """(C, …) float32 intensities of (4, …) numbers: curves applied to their tables; number 0 stays 0."""
    array = np.empty((len(view.channels), *numbers.shape[1:]), np.float32)
    for out, (sequence, curve) in zip(array, view.channels, strict=True):
        seen = curve(table[sequence])
        seen[0] = 0
        np.take(seen, numbers[sequence], out=out, mode="clip")  # twice as fast as with a check of every number
    return array


def _box(array: np.ndarray, corner: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(C, *edges) box from its lowest corner; zeros where it reaches beyond the array."""
    cube = np.zeros((len(array), *edges), array.dtype)
    low, high = np.maximum(corner, 0), np.minimum(corner + edges, array.shape[1:])
    if (high > low).all():
        source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        target = tuple(slice(a - c, b - c) for a, b, c in zip(low, high, corner, strict=True))
        cube[(slice(None), *target)] = array[(slice(None), *source)]
    return cube


def _transplanted(
    host: _Cut, case: PreparedCase, donor: PreparedCase, gift: _Cut, view: _View, rng: np.random.Generator
) -> _Cut:
    """The host's box with the donor's tumour, whose intensities are matched on tissue without tumour in either."""
    brain: np.ndarray = np.any(host.numbers, axis=0) & np.any(gift.numbers, axis=0)
    cut = carve(gift.label_map, brain, rng)
    sparse = (slice(None), *_SPARSE)
    tissue = (brain & (host.label_map == 0) & (gift.label_map == 0))[_SPARSE].ravel()
    one, other = (
        np.stack([row[numbers] for row, numbers in zip(each.table, box.numbers[sparse].reshape(4, -1), strict=True)])
        for each, box in ((donor, gift), (case, host))
    )
    scales, shifts = matched(one, other, tissue)
    there = bounding_box(cut)
    if there is None:
        return host
    i, j, k = (slice(max(0, edge.start - BLEND_REACH), edge.stop + BLEND_REACH) for edge in there)
    box = (slice(None), i, j, k)
    shown = _shown(gift.numbers[box], donor.table * scales[:, None] + shifts[:, None], view)
    is_scanned = host.numbers[box][[sequence for sequence, _ in view.channels]] > 0
    array = host.array.copy()
    array[box] += is_scanned * blend(cut[i, j, k]) * (shown - array[box])
    return _Cut(
        numbers=host.numbers,
        array=array,
        label_map=np.where(cut, gift.label_map, host.label_map),
        inside=host.inside,
        keys=None if host.keys is None or gift.keys is None else np.where(cut, gift.keys, host.keys),
    )
