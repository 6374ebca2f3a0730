"""Tumours for a head: real shapes, moved and warped, or tumours grown along white matter."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.transform import Rotation

from htcnns.files.shapes import TumourShape
from htcnns.labels import Label
from htcnns.training.synthesis.fields import random_field, sampled, softened, stretched
from htcnns.training.synthesis.heads import FRAME, FRAME_CORNER
from htcnns.training.synthesis.settings import HeadSettings
from htcnns.training.synthesis.tissues import PARENCHYMA, WHITE_LIKE, Tissue, mask_of

N_TRIES = 12  # places tried for a tumour; if none is good enough, the best is taken
N_PROBES = 200  # voxels of a tumour from which the share of it inside the brain is estimated
WELL_PLACED = 0.8  # share of a tumour inside the brain that is good enough
COARSE = 4  # mm between the nodes along which tumours grow
_COSTS = {  # cost of growing 1 mm through each tissue; other tissues cannot be entered
    **dict.fromkeys(WHITE_LIKE, 1.0),
    Tissue.DEEP_GREY: 1.5,
    Tissue.PALLIDUM: 1.5,
    Tissue.CORTEX: 2.2,
    Tissue.CEREBELLUM_GREY: 2.5,
}
_NEIGHBOURS = [(a, b, c) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1) if (a, b, c) > (0, 0, 0)]
_MIDDLE = np.array([119.5, 119.5, 77.0]) - FRAME_CORNER  # centre of BraTS's grid, in voxels of the frame
_MIRROR = 79.5  # plane between left and right, in voxels of the frame


class _Core(Enum):
    """How the core of a grown tumour enhances; the value is the share of cores that do so."""

    RIM = 0.55
    SOLID = 0.2
    PATCHY = 0.15
    NOWHERE = 0.1


@dataclass(frozen=True)
class Tumours:
    """The tumours drawn into a head.

    Attributes:
        label_map: (*FRAME) uint8 of Label values.
        shapes: names of the real shapes among them.
    """

    label_map: np.ndarray
    shapes: tuple[str, ...]


def draw_tumours(
    rng: np.random.Generator, tissues: np.ndarray, shapes: Sequence[TumourShape], *, settings: HeadSettings
) -> Tumours:
    """Up to three tumours, or none, not yet fitted to the head that they deform.

    Args:
        tissues: (*FRAME) of Tissue, the healthy head.
        shapes: real tumours to choose from; if empty, all are grown.
    """
    label_map = np.zeros(FRAME, np.uint8)
    names: list[str] = []
    if rng.random() < settings.healthy_share:
        return Tumours(label_map, ())
    n_tumours = int(rng.integers(2, 4)) if rng.random() < settings.several_share else 1
    cavities = [shape for shape in shapes if (shape.label_map == Label.RC).any()]
    others = [shape for shape in shapes if not (shape.label_map == Label.RC).any()]
    for number in range(n_tumours):
        small = rng.random() < (settings.small_share if number == 0 else 0.6)
        if number == 0 and cavities and rng.random() < settings.cavity_share:
            tumour = _placed(rng, tissues, _chosen(rng, cavities, names), small=False)
        elif others and rng.random() >= settings.grown_share:
            tumour = _placed(rng, tissues, _chosen(rng, others, names), small=small)
        else:
            tumour = _grown(rng, tissues, small=small)
        tumour = _varied(rng, tumour, settings)
        label_map = np.where(tumour > 0, tumour, label_map)
    return Tumours(label_map, tuple(names))


def fitted(rng: np.random.Generator, label_map: np.ndarray, tissues: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """The label map of the tumours, fitted to the head that they have deformed.

    Edema is removed from ventricles, wide sulci and some of the cortex at its border; nothing lies outside the brain.

    Args:
        label_map: (*FRAME) label map of the tumours as drawn.
        tissues, brain: (*FRAME) tissues of the deformed head, and mask of the brain left by stripping.
    """
    fitted_map = np.where(brain, label_map, 0).astype(np.uint8)
    edema = fitted_map == Label.ED
    if edema.any():
        thin = softened(edema, 2.0) < rng.uniform(0.3, 0.65)
        sulci = mask_of(tissues, Tissue.FLUID, Tissue.SULCUS, Tissue.VEIN, Tissue.ARTERY)
        sulcal = softened(sulci, 1.0) > rng.uniform(0.5, 0.85)
        fluid = mask_of(tissues, Tissue.VENTRICLE, Tissue.CHOROID, Tissue.AIR, Tissue.BONE)
        fitted_map[edema & (fluid | sulcal | (thin & mask_of(tissues, Tissue.CORTEX)))] = Label.BACKGROUND
    solid = (fitted_map == Label.NCR) | (fitted_map == Label.ET)
    fitted_map[solid & mask_of(tissues, Tissue.AIR, Tissue.BONE, Tissue.MARROW, Tissue.SOFT)] = Label.BACKGROUND
    return fitted_map


def _varied(rng: np.random.Generator, tumour: np.ndarray, settings: HeadSettings) -> np.ndarray:
    """The tumour, its enhancement or its edema removed at random."""
    if rng.random() < settings.quenched_share:
        tumour = np.where(tumour == Label.ET, np.uint8(rng.choice([Label.NCR, Label.NCR, Label.ED])), tumour)
    if rng.random() < settings.dry_share and (tumour != Label.ED).any():
        rest = np.where(tumour == Label.ED, np.uint8(Label.BACKGROUND), tumour)
        tumour = rest if rest.any() else tumour
    return tumour


def _chosen(rng: np.random.Generator, shapes: Sequence[TumourShape], names: list[str]) -> TumourShape:
    """One of the shapes; its name is added to `names`."""
    shape = shapes[int(rng.integers(len(shapes)))]
    names.append(shape.name)
    return shape


def _placed(rng: np.random.Generator, tissues: np.ndarray, shape: TumourShape, *, small: bool) -> np.ndarray:
    """A real tumour, mirrored, turned, scaled, bent and moved to the first place that fits, or else the best."""
    inside = mask_of(tissues, *PARENCHYMA)
    voxels = np.argwhere(shape.label_map > 0)
    voxels = voxels[rng.integers(len(voxels), size=N_PROBES)]
    best, most = None, -1.0
    for attempt in range(N_TRIES):
        place = _Place.draw(rng, shape, small=small, spread_mm=6.0 + 3 * attempt)
        probes = np.rint(place.forward(shape, voxels)).astype(int)
        within = ((probes >= 0) & (probes < FRAME)).all(axis=1)
        share = float(inside[tuple(probes[within].T)].sum() / N_PROBES)
        if share > most:
            best, most = place, share
        if most >= WELL_PLACED:
            break
    assert best is not None
    return _warped(rng, shape, best)


@dataclass(frozen=True)
class _Place:
    """Where a shape goes: its centre in the frame, its size, and how it is turned (and mirrored)."""

    centre: np.ndarray
    scale: float
    turn: np.ndarray

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: TumourShape, *, small: bool, spread_mm: float) -> "_Place":
        edges = np.array(shape.label_map.shape) * shape.spacing_mm
        scale = float(np.exp(rng.normal(0.2, 0.16)))  # larger on average, as parts outside the brain are cut off later
        if small:
            scale = min(scale, rng.uniform(16, 40) / float(edges.max()))
        mirror = rng.random() < 0.5
        centre = _MIDDLE + np.array(shape.corner_mm) + edges / 2
        centre[0] = 2 * _MIRROR - centre[0] if mirror else centre[0]
        centre = centre + spread_mm * rng.standard_normal(3) * (3 if small else 1)
        turn = Rotation.from_euler("xyz", rng.normal(0, 12, 3), degrees=True).as_matrix()
        return cls(centre, scale, turn @ np.diag([1 - 2 * mirror, 1, 1]))

    def forward(self, shape: TumourShape, voxels: np.ndarray) -> np.ndarray:
        """(n, 3) positions in the frame of the shape's voxels."""
        offsets = (voxels + 0.5 - np.array(shape.label_map.shape) / 2) * shape.spacing_mm
        return self.centre + self.scale * offsets @ self.turn  # the inverse of a turn is its transpose


def _warped(rng: np.random.Generator, shape: TumourShape, place: _Place) -> np.ndarray:
    """(*FRAME) uint8: the shape at its place, bent at random."""
    spacing = np.array(shape.spacing_mm)
    edges = np.array(shape.label_map.shape) * spacing
    centre, scale = place.centre, place.scale
    half = 0.55 * scale * edges + 6
    low = np.maximum(np.floor(centre - half).astype(int), 0)
    high = np.minimum(np.ceil(centre + half).astype(int), FRAME)
    label_map = np.zeros(FRAME, np.uint8)
    if (high - low < 2).any():
        return label_map
    size = int(high[0] - low[0]), int(high[1] - low[1]), int(high[2] - low[2])
    grid = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"))
    bend = np.stack([random_field(rng, size, 14) for _ in range(3)]) * rng.uniform(0.5, 2.5) * min(scale, 1)
    offsets = np.einsum("ab,bijk->aijk", place.turn / scale, grid + bend - centre[:, None, None, None])
    places = (offsets + (edges / 2)[:, None, None, None]) / spacing[:, None, None, None] - 0.5
    label_map[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = _read(shape.label_map, places)
    return label_map


def _read(label_map: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Labels read at positions between voxels, with smooth borders."""
    labels = [label for label in Label if label and (label_map == label).any()]
    masks = np.stack([softened(label_map == label, 0.5) for label in labels])
    shares = sampled(masks, places.astype(np.float32))
    return np.where(shares.sum(axis=0) > 0.5, np.array(labels, np.uint8)[shares.argmax(axis=0)], np.uint8(0))


def _grown(rng: np.random.Generator, tissues: np.ndarray, *, small: bool) -> np.ndarray:
    """(*FRAME) uint8: edema that spread along white matter from a seed, with a core near the seed."""
    coarse = tissues[::COARSE, ::COARSE, ::COARSE]
    seeds = np.argwhere(mask_of(coarse, *(WHITE_LIKE if rng.random() < 0.8 else PARENCHYMA)))
    seed = seeds[int(rng.integers(len(seeds)))]
    radius = rng.uniform(5, 11) if small else float(np.clip(rng.lognormal(np.log(37), 0.3), 12, 55))
    rough = rng.uniform(0.05, 0.18) * radius
    reach = stretched(_reach(rng, coarse, tuple(seed), 1.5 * radius + 12), FRAME)
    reach += rough * random_field(rng, FRAME, 14) + 0.3 * rough * random_field(rng, FRAME, 5)
    tumour = np.where(reach < radius, np.uint8(Label.ED), np.uint8(0))
    core_radius = radius * rng.uniform(0.25, 0.85)
    centre = COARSE * seed + 0.3 * (radius - core_radius) * rng.standard_normal(3)
    return _with_core(rng, tumour, centre, core_radius, inside=mask_of(tissues, *PARENCHYMA))


def _reach(rng: np.random.Generator, coarse: np.ndarray, seed: tuple[int, ...], limit: float) -> np.ndarray:
    """Cost in mm of the cheapest path from the seed to every node, at most `limit`; see _COSTS."""
    table = np.zeros(len(Tissue), np.float32)
    for tissue, cost in _COSTS.items():
        table[tissue] = cost
    costs = table[coarse]
    costs *= np.exp(0.35 * random_field(rng, coarse.shape, 3))
    numbers = np.full(coarse.shape, -1)
    numbers[costs > 0] = np.arange(np.count_nonzero(costs))
    starts, ends, weights = [], [], []
    for step in _NEIGHBOURS:
        here = tuple(slice(max(0, -d), n - max(0, d)) for d, n in zip(step, coarse.shape, strict=True))
        there = tuple(slice(max(0, d), n + min(0, d)) for d, n in zip(step, coarse.shape, strict=True))
        joined = (costs[here] > 0) & (costs[there] > 0)
        starts.append(numbers[here][joined])
        ends.append(numbers[there][joined])
        length = COARSE * np.sqrt(sum(d * d for d in step))
        weights.append(length * 0.5 * (costs[here] + costs[there])[joined])
    n = int(np.count_nonzero(costs))
    graph = coo_array((np.concatenate(weights), (np.concatenate(starts), np.concatenate(ends))), shape=(n, n))
    ways = dijkstra(graph.tocsr(), directed=False, indices=int(numbers[seed]), limit=limit)
    reach = np.full(coarse.shape, limit, np.float32)
    reach[costs > 0] = np.minimum(ways, limit)
    blocked = costs <= 0  # take the mean of their neighbourhood, so that borders between nodes are smooth
    reach[blocked] = ndimage.uniform_filter(reach, 3)[blocked]
    return reach


def _with_core(
    rng: np.random.Generator, tumour: np.ndarray, centre: np.ndarray, radius: float, *, inside: np.ndarray
) -> np.ndarray:
    """The tumour with a core of ET and NCR, drawn into its edema."""
    half = int(np.ceil(1.7 * radius)) + 6
    low = np.clip(np.rint(centre).astype(int) - half, 0, np.array(FRAME) - 8)
    high = np.clip(np.rint(centre).astype(int) + half, low + 8, FRAME)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    size = int(high[0] - low[0]), int(high[1] - low[1]), int(high[2] - low[2])
    grid = np.meshgrid(*(np.arange(a, b, dtype=np.float32) for a, b in zip(low, high, strict=True)), indexing="ij")
    stretch = np.exp(rng.normal(0, 0.15, 3))
    distance = np.sqrt(sum(((g - c) / s) ** 2 for g, c, s in zip(grid, centre, stretch, strict=True)))
    distance += radius * rng.uniform(0.08, 0.22) * random_field(rng, size, max(4.0, 0.7 * radius))
    distance += 0.06 * radius * random_field(rng, size, 4)
    depth = np.where(inside[box], radius - distance, -1)
    core = _core_labels(rng, depth, radius)
    grown = tumour.copy()
    grown[box] = np.where(core > 0, core, tumour[box])
    return grown


def _core_labels(rng: np.random.Generator, depth: np.ndarray, radius: float) -> np.ndarray:
    """uint8 ET and NCR where the depth below the core's surface, in mm, is positive; 0 elsewhere."""
    cores = tuple(_Core)
    core = cores[int(rng.choice(len(cores), p=[each.value for each in cores]))]
    rim = rng.uniform(1.2, 5) * (1 + rng.uniform(0.2, 0.8) * random_field(rng, depth.shape, 9))
    lumps = random_field(rng, depth.shape, max(4.0, 0.4 * radius))
    fine = random_field(rng, depth.shape, 3.5)
    enhancing = {
        _Core.RIM: (depth < rim) | (lumps + 0.4 * fine > rng.uniform(1.2, 2.2)),
        _Core.SOLID: lumps + 0.3 * fine < rng.uniform(0.6, 2.5),
        _Core.PATCHY: lumps + 0.3 * fine > rng.uniform(0.5, 1.5),
        _Core.NOWHERE: np.zeros(depth.shape, bool),
    }[core]
    return np.where(depth > 0, np.where(enhancing, np.uint8(Label.ET), np.uint8(Label.NCR)), np.uint8(0))
