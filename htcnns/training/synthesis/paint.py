"""Four sequences from tissues and tumours: levels, textures, partial volume, vessels; then the scanner."""

import numpy as np
from scipy import ndimage

from htcnns.labels import SEQUENCES, Label
from htcnns.training.synthesis.contrasts import T1C, T1N, T2F, T2W, Palette
from htcnns.training.synthesis.fields import random_field, sampled, shifted, softened
from htcnns.training.synthesis.settings import HeadSettings
from htcnns.training.synthesis.tissues import PARENCHYMA, Tissue, mask_of
from htcnns.volume import Shape, bounding_box

TISSUE_TEXTURE = (0.02, 0.09)  # range of the standard deviation of each texture in healthy tissue
EDGE_MM = 10  # margin around a tumour that its soft edges may reach into
ZERO = np.array([5.0, 4.5, 3.2, 4.0])  # added to z-scores of t1n, t1c, t2w, t2f to make a brightness above 0
UNITS = 120.0  # a scanner's grey levels per standard deviation


def paint_head(
    rng: np.random.Generator, anatomy: np.ndarray, coordinates: np.ndarray, tissues: np.ndarray, *, levels: np.ndarray
) -> np.ndarray:
    """(4, I, J, K) float32 sequences of the healthy head.

    Args:
        anatomy: (i, j, k) of Tissue, not deformed; levels are interpolated between its voxels for partial volume.
        coordinates: (3, I, J, K) positions in `anatomy`.
        tissues: (I, J, K) nearest Tissue at each voxel.
        levels: (n_tissues, 4) level of each tissue in each sequence.
    """
    source = np.stack([row[anatomy] for row in levels.T.astype(np.float32)])
    painted = sampled(source, coordinates)
    brain = mask_of(tissues, *PARENCHYMA)
    shared = random_field(rng, tissues.shape, 9)
    for sequence in painted:
        low, high = TISSUE_TEXTURE
        sequence += brain * (rng.uniform(low, high) * float(rng.choice([-1, 1])) * shared)
        sequence += brain * (rng.uniform(low, high) * random_field(rng, tissues.shape, rng.uniform(3, 6)))
        sequence += rng.uniform(low, high) * random_field(rng, tissues.shape, rng.uniform(1.5, 2.5))
    _add_vessels(rng, painted, tissues)
    _add_caps(rng, painted, tissues)
    return painted


def standardised(painted: np.ndarray, brain: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The healthy head and its tissues' levels after z-scoring each sequence over the brain."""
    inside = painted[:, brain]
    means = inside.mean(axis=1, dtype=np.float64)
    deviations = inside.std(axis=1, dtype=np.float64)
    scale, offset = (1 / deviations).astype(np.float32), (means / deviations).astype(np.float32)
    return painted * scale[:, None, None, None] - offset[:, None, None, None], (levels - means) / deviations


def paint_tumours(
    rng: np.random.Generator, painted: np.ndarray, label_map: np.ndarray, *, palette: Palette
) -> np.ndarray:
    """(4, I, J, K) float32 sequences of the head with its tumours.

    Args:
        painted: (4, I, J, K) sequences of the healthy head.
        label_map: (I, J, K) uint8 of Label values.
    """
    box = bounding_box(label_map > 0)
    if box is None:
        return painted
    i, j, k = (
        slice(max(0, edge.start - EDGE_MM), min(n, edge.stop + EDGE_MM))
        for edge, n in zip(box, label_map.shape, strict=True)
    )
    cut = (i, j, k)
    result = painted.copy()
    result[(slice(None), *cut)] = _with_tumour(rng, painted[(slice(None), *cut)], label_map[cut], palette)
    return result


def scan(rng: np.random.Generator, painted: np.ndarray, brain: np.ndarray, *, settings: HeadSettings) -> np.ndarray:
    """(4, I, J, K) int16 sequences of a scanner: shaded, blurred, noisy, some thick or shifted; 0 outside the brain.

    The outermost voxels are darker, as in scans that were stripped and then resampled.

    Args:
        painted: (4, I, J, K) float32 z-scores.
        brain: (I, J, K) bool, the brain left by stripping.
    """
    stored = np.zeros(painted.shape, np.int16)
    axis = int(rng.choice(3, p=(0.2, 0.2, 0.6)))
    shade = rng.uniform(0, 0.13)
    border = 1 - softened(brain, rng.uniform(0.6, 1.0))  # about 0.4 in the outermost voxels
    darkening = rng.uniform(0.3, 1.0)
    for number in range(len(SEQUENCES)):
        sequence = painted[number] + np.float32(ZERO[number])
        sequence *= np.exp(rng.uniform(0, shade) * random_field(rng, brain.shape, 70))
        thick = rng.random() < settings.thick_share
        across = axis if rng.random() < 0.6 else int(rng.integers(3))
        sequence = _blurred(sequence, None if thick else across, sigma=rng.uniform(0.25, 0.75))
        sequence += _noise(rng, brain.shape)
        if thick:
            sequence = _thick(rng, sequence, across)
        if rng.random() < settings.moved_share:
            x, y, z = rng.normal(0, 0.6, 3)
            sequence = shifted(sequence, (x, y, z))
        mask = brain
        if rng.random() < settings.cropped_share:
            mask = brain & _field_of_view(rng, brain)
        sequence *= 1 - min(1.0, darkening * rng.uniform(0.7, 1.3)) * border
        stored[number] = np.rint(np.clip(sequence * UNITS, 1, 30000)) * mask
    return stored


def _with_tumour(rng: np.random.Generator, healthy: np.ndarray, labels: np.ndarray, palette: Palette) -> np.ndarray:
    """(4, i, j, k): edema painted over the healthy tissue, the core over edema."""
    size = labels.shape[0], labels.shape[1], labels.shape[2]
    painted = healthy.copy()
    whole = _edge(rng, labels > 0, float(rng.choice([0.6, 0.9, 1.5, 2.5], p=(0.3, 0.35, 0.25, 0.1))))
    whole = whole * _infiltration(rng, labels, size)
    white = palette.tissues[Tissue.WHITE].astype(np.float32)
    _lay(painted, whole, _edema(rng, healthy, palette, white))
    core_sigma = rng.uniform(0.4, 0.9)
    for label, level in (
        (Label.NCR, _mixed(rng, palette, size)),
        (Label.ET, _enhancing(rng, palette, size)),
        (Label.RC, palette.cavity.astype(np.float32)[:, None, None, None] + 0.1 * random_field(rng, size, 6)),
    ):
        mask = labels == label
        if mask.any():
            _lay(painted, _edge(rng, mask, core_sigma), level)
    return painted


def _lay(painted: np.ndarray, share: np.ndarray, level: np.ndarray) -> None:
    """Fill that share of every voxel of `painted` with the level, in place."""
    painted += share * (level - painted)


def _edge(rng: np.random.Generator, mask: np.ndarray, sigma: float) -> np.ndarray:
    """Fraction of each voxel inside the mask, whose edge is blurred by `sigma` and slightly off the rater's outline."""
    soft = softened(mask, sigma)
    bias = rng.uniform(-0.15, 0.15) + 0.1 * random_field(rng, mask.shape, 10)
    return np.clip(soft + bias * 4 * soft * (1 - soft), 0, 1)


def _infiltration(rng: np.random.Generator, labels: np.ndarray, size: Shape) -> np.ndarray:
    """Factor from 0 to 1: edema is patchy, and fades towards its border in some tumours."""
    patchy = rng.uniform(0, 0.35) * np.clip(0.5 + 0.6 * random_field(rng, size, rng.uniform(8, 20)), 0, 1)
    factor = 1 - patchy
    if rng.random() < 0.5:
        depth = ndimage.distance_transform_edt(labels > 0).astype(np.float32)
        factor *= np.clip(rng.uniform(0.3, 0.7) + depth / rng.uniform(3, 15), 0, 1)
    return np.where((labels == Label.NCR) | (labels == Label.ET), np.float32(1), factor)


def _edema(rng: np.random.Generator, healthy: np.ndarray, palette: Palette, white: np.ndarray) -> np.ndarray:
    structure = healthy - white[:, None, None, None]
    level = palette.edema.astype(np.float32)[:, None, None, None] + palette.kept * structure
    return level + _textured(rng, rng.uniform(0.2, 0.6) * palette.textures[0], healthy.shape[1:])


def _enhancing(rng: np.random.Generator, palette: Palette, size: Shape) -> np.ndarray:
    """Enhancing tumour whose uptake varies along its rim."""
    level = np.repeat(palette.enhancing.astype(np.float32)[:, None, None, None], 1, axis=0)
    level = level + _textured(rng, palette.textures[1], size)
    uptake = palette.enhancing[T1C] - palette.edema[T1C]
    level[T1C] += rng.uniform(0, 0.35) * uptake * random_field(rng, size, rng.uniform(5, 12))
    return level


def _mixed(rng: np.random.Generator, palette: Palette, size: Shape) -> np.ndarray:
    """A core of up to three kinds of tissue in patches."""
    cores = palette.cores.astype(np.float32)[:, :, None, None, None]
    patches = random_field(rng, size, rng.uniform(6, 16)) + 0.4 * random_field(rng, size, 4)
    second = np.clip(0.5 + rng.uniform(0.8, 4) * (patches - rng.normal(0, 0.6)), 0, 1)
    level = cores[0] + second * (cores[1] - cores[0])
    if rng.random() < 0.35:
        third = np.clip(2 * (random_field(rng, size, rng.uniform(4, 12)) - rng.uniform(0.3, 1.3)), 0, 1)
        level = level + third * (cores[2] - level)
    return level + _textured(rng, palette.textures[2], size)


def _textured(rng: np.random.Generator, deviations: np.ndarray, size: Shape) -> np.ndarray:
    """(4, i, j, k) texture at three scales, partly shared by the sequences; in t1n and t1c it looks alike."""
    shared = [random_field(rng, size, step) for step in (10, 4.5, 2.2)]
    weights = rng.dirichlet((2, 1.5, 1))
    texture = np.empty((len(SEQUENCES), *size), np.float32)
    signs = {T1N: -1.0, T1C: -1.0, T2W: 1.0, T2F: float(rng.choice([-1, 1]))}
    for number, deviation in enumerate(deviations):
        own = random_field(rng, size, rng.uniform(3, 8))
        fields = sum(np.sqrt(weight) * field for weight, field in zip(weights, shared, strict=True))
        texture[number] = deviation * (0.75 * signs[number] * fields + 0.6 * own)
    return texture


def _add_vessels(rng: np.random.Generator, painted: np.ndarray, tissues: np.ndarray) -> None:
    """Draw thin vessels into the sulci and through the brain, in place: bright in t1c, dark in t2w and t2f."""
    width = rng.uniform(0.05, 0.12)
    lines = random_field(rng, tissues.shape, 9) ** 2 + random_field(rng, tissues.shape, 9) ** 2
    outside = mask_of(tissues, Tissue.FLUID, Tissue.SULCUS, Tissue.CORTEX, Tissue.VEIN)
    vessel = np.exp(-lines / (2 * width**2)) * np.where(outside, np.float32(1), np.float32(0.35))
    painted[T1C] += rng.uniform(0, 4.5) * vessel
    painted[T1N] -= rng.uniform(0, 0.5) * vessel
    painted[T2W] -= rng.uniform(0, 1.2) * vessel
    painted[T2F] -= rng.uniform(0, 0.8) * vessel


def _add_caps(rng: np.random.Generator, painted: np.ndarray, tissues: np.ndarray) -> None:
    """Brighten white matter in t2f around the ventricles and in spots, in place, as ageing does; no tumour."""
    near = softened(mask_of(tissues, Tissue.VENTRICLE), rng.uniform(1.5, 3.5))
    ring = 4 * near * (1 - near) * np.clip(0.4 + 0.6 * random_field(rng, tissues.shape, 14), 0, 1.5)
    spots = np.clip(random_field(rng, tissues.shape, 7) - rng.uniform(2.2, 4), 0, 1)
    shine = mask_of(tissues, Tissue.WHITE) * (ring * rng.uniform(0, 1) + spots * rng.uniform(0, 2))
    painted[T2F] += rng.uniform(0, 1.4) * shine
    painted[T2W] += rng.uniform(0, 0.6) * shine
    painted[T1N] -= rng.uniform(0, 0.3) * shine


def _blurred(sequence: np.ndarray, across: int | None, *, sigma: float) -> np.ndarray:
    """The sequence blurred by a point spread that is wider along the axis `across`, if given."""
    sigmas = [sigma * (1.5 if axis == across else 1) for axis in range(3)]
    return ndimage.gaussian_filter(sequence, sigmas, truncate=3)


def _noise(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """(I, J, K) float32 noise, in most cases smooth as after resampling."""
    noise = rng.standard_normal(shape, np.float32)
    if rng.random() < 0.7:
        sigma = rng.uniform(0.3, 0.8)
        noise = ndimage.gaussian_filter(noise, sigma, truncate=3) * (1 + 2.2 * sigma**2)
    return noise * np.float32(rng.uniform(0.02, 0.13))


def _thick(rng: np.random.Generator, sequence: np.ndarray, axis: int) -> np.ndarray:
    """The sequence in slices of 2 to 6.5 mm without gaps, interpolated back to 1 mm linearly or smoothly."""
    step = rng.uniform(2, 6.5) if rng.random() < 0.4 else rng.uniform(2, 4)
    moved = np.moveaxis(sequence, axis, 0)
    blurred = ndimage.gaussian_filter1d(moved, 0.36 * step, axis=0)
    centres = np.arange(rng.uniform(0, step), moved.shape[0] - 1, step)
    slices = blurred[np.rint(centres).astype(int)]
    places = np.clip((np.arange(moved.shape[0]) - centres[0]) / step, 0, len(centres) - 1)
    low = np.minimum(places.astype(int), len(centres) - 2)
    share = (places - low).astype(np.float32)[:, None, None]
    if rng.random() < 0.5:
        share = share * share * (3 - 2 * share)
    return np.moveaxis((1 - share) * slices[low] + share * slices[low + 1], 0, axis)


def _field_of_view(rng: np.random.Generator, brain: np.ndarray) -> np.ndarray:
    """Bool array, True inside the field of view of a scan that was planned too short."""
    box = bounding_box(brain)
    assert box is not None
    axis = int(rng.choice(3, p=(0.2, 0.2, 0.6)))
    inside = np.zeros(brain.shape[axis], bool)
    inside[box[axis].start + int(rng.integers(0, 22)) : box[axis].stop - int(rng.integers(0, 15))] = True
    shape = [1, 1, 1]
    shape[axis] = brain.shape[axis]
    return inside.reshape(shape)
