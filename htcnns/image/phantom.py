"""A synthetic skull-stripped head with a glioma of known volumes, for tests and the demo; never trained on.

It is drawn as a map of tissues, each tissue is given a brightness per sequence, and a scanner's shading and noise are
added. All lengths are in mm of one adult head, which always fills the array, however many voxels it has.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from scipy import ndimage

from htcnns.labels import GLIOMA, SEQUENCES, Label, Region, region_mask
from htcnns.volume import Shape, Spacing, voxel_ml

SHAPE = (160, 192, 144)
HEAD_MM = (160.0, 192.0, 144.0)  # the brain inside measures about 138 x 172 x 136, as in the BraTS cases


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """A synthetic case and what is known about it.

    Attributes:
        sequences: (4, I, J, K) float32 in the order of SEQUENCES: whole numbers as a scanner stores them, 0 outside.
        truth: (I, J, K) uint8 of Label values. I, J, K run to the left, posterior and superior.
        spacing_mm: voxel size along I, J, K.
        affine: (4, 4) float64, voxel index to world mm, RAS+; as BraTS places its cases.
        volumes_ml: volume of WT, TC and ET.
    """

    sequences: np.ndarray
    truth: np.ndarray
    spacing_mm: Spacing
    affine: np.ndarray
    volumes_ml: dict[Region, float]


class _Tissue(IntEnum):
    AIR = 0
    CSF = 1
    GREY = 2
    WHITE = 3
    VESSEL = 4
    OEDEMA = 5
    RIM = 6
    NECROSIS = 7
    SOLID = 8
    CAVITY = 9


# Brightness in t1n, t1c, t2w, t2f relative to the brain's median; within the range of medians of our 11 BraTS cases.
_BRIGHTNESS = {
    _Tissue.AIR: (0.0, 0.0, 0.0, 0.0),
    _Tissue.CSF: (0.45, 0.45, 2.6, 0.30),
    _Tissue.GREY: (0.84, 0.94, 1.15, 1.12),
    _Tissue.WHITE: (1.12, 1.10, 0.83, 0.90),
    _Tissue.VESSEL: (0.60, 1.75, 1.2, 0.45),
    _Tissue.OEDEMA: (0.94, 0.93, 1.62, 1.60),
    _Tissue.RIM: (0.92, 1.80, 1.50, 1.50),
    _Tissue.NECROSIS: (0.74, 0.58, 2.05, 1.45),
    _Tissue.SOLID: (0.80, 0.82, 1.95, 1.70),
    _Tissue.CAVITY: (0.45, 0.45, 2.6, 0.30),  # fluid
}
_LABELS = {
    _Tissue.OEDEMA: Label.ED,
    _Tissue.RIM: Label.ET,
    _Tissue.NECROSIS: Label.NCR,
    _Tissue.SOLID: Label.NCR,
    _Tissue.CAVITY: Label.RC,
}
_SCANNER_UNITS = (700.0, 900.0, 480.0, 420.0)  # the brain's median in t1n, t1c, t2w, t2f

# Semi-axes and centre of ellipsoids in mm from the middle of the head; each occurs on both sides of the midline.
_CEREBRUM = (((67, 85, 62), (0, 0, -2)),)
_TEMPORAL_LOBES = (((26, 40, 25), (37, -12, -32)),)
_CEREBELLUM = (((34, 27, 23), (17, 48, -42)),)
_BRAINSTEM = (((13, 13, 26), (0, 22, -38)),)
_CALLOSUM = (((90, 46, 26), (0, 2, 2)),)  # inside this, no fissure parts the hemispheres
_DEEP_GREY = (
    ((9, 16, 10), (12, 12, -2)),  # thalamus
    ((7, 20, 13), (25, -8, 0)),  # putamen and pallidum
    ((5, 14, 7), (13, -26, 6)),  # caudate
)
_VENTRICLES = (
    ((6, 28, 7), (8, -8, 14)),  # body and front horn
    ((6, 18, 8), (19, 28, 8)),  # atrium and back horn
    ((2, 12, 9), (0, 6, 0)),  # third ventricle
)
_FRONTAL_BASE_MM = -30  # the cerebrum ends here, only the temporal lobes reach lower


def make_phantom(
    shape: Shape = SHAPE,
    *,
    seed: int,
    spacing_mm: Spacing = (1.0, 1.0, 1.0),
    with_tumour: bool = True,
    enhancing: bool = True,
    resected: bool = False,
) -> Phantom:
    """A head with a glioma: irregular oedema, an enhancing rim, a necrotic core.

    Head and tumour depend on the seed alone: a smaller shape samples the same ones more coarsely, and without a tumour
    the rest of the head stays the same, except for what the tumour displaces.

    Args:
        shape: (I, J, K); the head fills it. Small arrays, such as 32 voxels per side, still contain every label.
        spacing_mm: voxel size along I, J, K; it changes the volumes, not the drawing.
        with_tumour: False for a healthy head, whose truth is empty.
        enhancing: False for a tumour without ET, whose whole core is solid NCR.
        resected: True for a cavity full of fluid in place of the necrotic core.
    """
    head_rng, tumour_rng, scanner_rng = np.random.default_rng(seed).spawn(3)
    grid = _Grid.of(shape)
    tumour = _Tumour.drawn(tumour_rng) if with_tumour else None
    tissues = _healthy_tissues(grid, head_rng, tumour)
    if tumour is not None:
        tissues = _with_tumour(tissues, grid, tumour_rng, tumour)
    if not enhancing:
        tissues[(tissues == _Tissue.RIM) | (tissues == _Tissue.NECROSIS)] = _Tissue.SOLID
    if resected:
        tissues[tissues == _Tissue.NECROSIS] = _Tissue.CAVITY
    truth = _lookup({tissue: float(label) for tissue, label in _LABELS.items()})[tissues].astype(np.uint8)
    affine = _affine(shape, spacing_mm)
    one_ml = voxel_ml(affine)
    return Phantom(
        sequences=_scanned(tissues, grid, scanner_rng),
        truth=truth,
        spacing_mm=spacing_mm,
        affine=affine,
        volumes_ml={region: int(region_mask(truth, region).sum()) * one_ml for region in GLIOMA.regions},
    )


def _affine(shape: Shape, spacing_mm: Spacing) -> np.ndarray:
    """(4, 4) float64 affine of axes that run to the left, posterior and superior; y is 0 in the last J layer."""
    i, j, k = spacing_mm
    affine = np.diag([-i, -j, k, 1.0])
    affine[1, 3] = j * (shape[1] - 1)
    return affine


@dataclass(frozen=True)
class _Grid:
    """Where the voxels lie: mm from the middle of the head along I (left), J (posterior) and K (superior)."""

    axes: tuple[np.ndarray, np.ndarray, np.ndarray]

    @classmethod
    def of(cls, shape: Shape) -> "_Grid":
        i, j, k = (((np.arange(n) + 0.5) / n - 0.5) * mm for n, mm in zip(shape, HEAD_MM, strict=True))
        return cls((i.astype(np.float32), j.astype(np.float32), k.astype(np.float32)))

    def points(self) -> list[np.ndarray]:
        """Three (I, J, K)-broadcastable float32 coordinates."""
        i, j, k = self.axes
        return [i[:, None, None], j[None, :, None], k[None, None, :]]

    def noise(self, rng: np.random.Generator, step_mm: float) -> np.ndarray:
        """(I, J, K) float32 smooth noise of mean 0 and variance 1: random bumps on a lattice with this step."""
        bases = [_bumps(axis, mm, step_mm) for axis, mm in zip(self.axes, HEAD_MM, strict=True)]
        field = rng.standard_normal([basis.shape[1] for basis in bases], np.float32)
        for basis in bases:  # each pass expands one lattice axis to voxels and moves it last
            field = np.tensordot(field, basis, axes=(0, 1))
        return field


@dataclass(frozen=True)
class _Tumour:
    """Centre and radii, in mm."""

    centre: tuple[float, float, float]
    core: float
    oedema: float

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "_Tumour":
        side = float(rng.choice([-1.0, 1.0]))
        core = rng.uniform(15, 20)
        centre = (side * rng.uniform(28, 36), rng.uniform(-32, 32), rng.uniform(6, 26))
        return cls(centre, core, core + rng.uniform(11, 16))


def _bumps(axis: np.ndarray, extent_mm: float, step_mm: float) -> np.ndarray:
    """(n_voxels, n_nodes) float32 bell curves around lattice nodes, squares summing to 1 in each row."""
    n_nodes = int(extent_mm / step_mm) + 5
    nodes = (np.arange(n_nodes) - (n_nodes - 1) / 2) * step_mm
    bumps = np.exp(-0.5 * ((axis[:, None] - nodes) / (0.7 * step_mm)) ** 2)
    return (bumps / np.sqrt((bumps**2).sum(axis=1, keepdims=True))).astype(np.float32)


def _depth(points: list[np.ndarray], parts: tuple) -> np.ndarray:
    """(I, J, K) float32: approximate depth in mm of each point inside the union of ellipsoids; negative outside."""
    i, j, k = np.abs(points[0]), points[1], points[2]
    depths = []
    for (a, b, c), (x, y, z) in parts:
        radius = np.sqrt(((i - x) / a) ** 2 + ((j - y) / b) ** 2 + ((k - z) / c) ** 2)
        depths.append((1 - radius) * min(a, b, c))
    return np.maximum.reduce(depths)


def _healthy_tissues(grid: _Grid, rng: np.random.Generator, tumour: _Tumour | None) -> np.ndarray:
    """(I, J, K) uint8 of _Tissue: folded cortex, cerebellum, deep grey matter and ventricles."""
    points = [point + 2.5 * grid.noise(rng, 40) for point in grid.points()]  # no head is symmetric
    temporal = _depth(points, _TEMPORAL_LOBES)
    cerebrum = np.maximum(np.minimum(_depth(points, _CEREBRUM), points[2] - _FRONTAL_BASE_MM), temporal)
    cerebellum, stem = _depth(points, _CEREBELLUM), _depth(points, _BRAINSTEM)
    if tumour is not None:
        points = _pushed(points, tumour)
    tissues = _cortex(cerebrum, points, grid, rng)
    tissues[_depth(points, _DEEP_GREY) > 0] = _Tissue.GREY
    folia = np.abs(np.sin(0.8 * points[2] + 1.5 * grid.noise(rng, 12)))
    behind = cerebellum > cerebrum
    tissues[behind] = np.where((cerebellum < 10) & (folia > 0.3), _Tissue.GREY, _Tissue.WHITE)[behind]
    tissues[behind & (np.minimum(cerebellum, cerebellum - cerebrum) < 1.5)] = _Tissue.CSF
    tissues[(stem > 0) & (cerebrum < 25)] = _Tissue.WHITE
    tissues[_depth(points, _VENTRICLES) > 0] = _Tissue.CSF
    tissues[np.maximum.reduce([cerebrum, cerebellum, stem]) <= 0] = _Tissue.AIR
    return tissues


def _pushed(points: list[np.ndarray], tumour: _Tumour) -> list[np.ndarray]:
    """The points as they were before the tumour pushed them aside."""
    offsets = [point - centre for point, centre in zip(points, tumour.centre, strict=True)]
    squeeze = 0.3 * np.exp(-sum(offset**2 for offset in offsets) / (2 * (1.6 * tumour.core) ** 2))
    return [point - squeeze * offset for point, offset in zip(points, offsets, strict=True)]


def _cortex(depth: np.ndarray, points: list[np.ndarray], grid: _Grid, rng: np.random.Generator) -> np.ndarray:
    """(I, J, K) uint8 of _Tissue: white matter under a ribbon of grey, which follows the surface and the sulci.

    The sulci are the sheets where smooth noise changes its sign: they wind and branch as real ones do. The noise is
    sampled near the surface and carried inwards, so that the sheets are perpendicular to the surface.
    """
    to_sulcus = 2.6 * np.abs(_carried_inwards(grid.noise(rng, 4.2))) + 0.8 * np.maximum(depth - 15, 0)
    to_fissure = np.abs(points[0]) + np.maximum(_depth(points, _CALLOSUM), 0)
    to_liquor = np.minimum(np.minimum(depth, to_fissure), to_sulcus)
    tissues = np.full(depth.shape, _Tissue.WHITE, np.uint8)
    tissues[to_liquor < 3.2] = _Tissue.GREY
    tissues[to_liquor < 0.75] = _Tissue.CSF
    tissues[(to_liquor < 1.0) & (np.abs(grid.noise(rng, 9)) < 0.12)] = _Tissue.VESSEL  # lines within the sulci
    return tissues


def _carried_inwards(field: np.ndarray) -> np.ndarray:
    """(I, J, K) field whose values near the surface of the head are extended along the rays to its middle."""
    i, j, k = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in field.shape), indexing="ij", sparse=True)
    stretch = (0.85 / np.sqrt(i * i + j * j + k * k + 1e-3)) ** 0.7
    places = [(axis * stretch + 1) * (n - 1) / 2 for axis, n in zip((i, j, k), field.shape, strict=True)]
    return ndimage.map_coordinates(field, np.stack(places), order=1, mode="nearest")


def _with_tumour(tissues: np.ndarray, grid: _Grid, rng: np.random.Generator, tumour: _Tumour) -> np.ndarray:
    """The tissues with a tumour drawn over them; oedema runs along the white matter and spares cortex and CSF."""
    distance = np.sqrt(sum((p - c) ** 2 for p, c in zip(grid.points(), tumour.centre, strict=True)))
    core = distance + 3.5 * grid.noise(rng, 16) + 1.2 * grid.noise(rng, 6)
    oedema = distance + 5.0 * grid.noise(rng, 22) + 1.5 * grid.noise(rng, 7) + 7.0 * (tissues == _Tissue.GREY)
    brain = tissues != _Tissue.AIR
    liquor = (tissues == _Tissue.CSF) | (tissues == _Tissue.VESSEL)
    grown = tissues.copy()
    grown[brain & ~liquor & (oedema < tumour.oedema)] = _Tissue.OEDEMA
    grown[brain & (core < tumour.core)] = _Tissue.RIM
    grown[brain & (core + 2.5 * grid.noise(rng, 9) < 0.66 * tumour.core)] = _Tissue.NECROSIS
    return grown


def _scanned(tissues: np.ndarray, grid: _Grid, rng: np.random.Generator) -> np.ndarray:
    """(4, I, J, K) float32 simulated scans of the tissues, with texture, shading, Rician noise and blur."""
    sequences = np.empty((len(SEQUENCES), *tissues.shape), np.float32)
    tumour = tissues >= _Tissue.OEDEMA
    for index, units in enumerate(_SCANNER_UNITS):
        signal = _lookup({tissue: values[index] for tissue, values in _BRIGHTNESS.items()})[tissues]
        signal *= 1 + np.where(tumour, 0.13, 0.04).astype(np.float32) * grid.noise(rng, 5)
        signal *= np.exp(0.08 * grid.noise(rng, 70))
        real, imaginary = 0.06 * rng.standard_normal((2, *tissues.shape), np.float32)
        blurred = ndimage.gaussian_filter(np.hypot(signal + real, imaginary), sigma=0.6)
        sequences[index] = np.rint(np.maximum(blurred * units * rng.uniform(0.7, 1.4), 1))
    sequences[:, tissues == _Tissue.AIR] = 0
    return sequences


def _lookup(values: dict[_Tissue, float]) -> np.ndarray:
    """(n_tissues,) float32 table from tissue to value, 0 where none is given."""
    table = np.zeros(len(_Tissue), np.float32)
    for tissue, value in values.items():
        table[tissue] = value
    return table
