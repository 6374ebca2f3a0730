"""Brightness of every tissue and tumour part in one head, drawn around measured values with a wider spread."""

from dataclasses import dataclass

import numpy as np

from htcnns.labels import SEQUENCES, Sequence
from htcnns.training.synthesis.measure import Spread
from htcnns.training.synthesis.measured import HEALTHY_LEVELS, TUMOUR_LEVELS, TUMOUR_TEXTURES
from htcnns.training.synthesis.settings import HeadSettings
from htcnns.training.synthesis.tissues import Tissue

T1N, T1C, T2W, T2F = (SEQUENCES.index(each) for each in (Sequence.T1N, Sequence.T1C, Sequence.T2W, Sequence.T2F))
SHRUNK = np.array([0.72, 0.62, 0.85, 0.85])  # painted heads vary less within tissues, so z-scoring stretches them again
HEALTHY_WIDER = 0.8  # fraction of the widening of tumours: heads that are too strange cost more than they teach
REDRAWN = np.array(  # makes up for what scanning and z-scoring take from edema, ET and core; measured on painted heads
    [[-0.25, -0.25, 0.25, 0.8], [-0.4, -0.1, -0.05, 0.1], [-0.4, -0.6, 0.2, 0.3]]
)
LEAST_SEEN = 0.35  # least excess of edema over white and grey matter in t2w or t2f; below it nobody could draw it
LEAST_ENHANCED = 0.7  # least excess of ET over white matter, grey matter and edema in t1c
INFILTRATED = 0.15  # fraction of heads whose core hardly differs from edema; at 0.4 edema was taken for necrosis
_TABLE = {  # lowest and highest level in t1n, t1c, t2w, t2f of unmeasured tissues; read off images of the 27 cases
    Tissue.CHOROID: ((-0.9, 0.1), (0.0, 3.5), (0.6, 2.5), (-0.5, 1.2)),
    Tissue.VEIN: ((-1.5, 0.5), (0.5, 7.0), (-1.6, 1.0), (-1.8, 0.3)),
    Tissue.ARTERY: ((-2.0, 1.5), (0.0, 6.0), (-1.7, 0.0), (-2.0, 0.0)),
    Tissue.BONE: ((-3.0, 0.5), (-2.0, 1.5), (-1.7, 0.5), (-2.2, 0.5)),
    Tissue.MARROW: ((-1.0, 3.0), (-1.0, 3.0), (-1.0, 1.5), (-1.5, 2.0)),
    Tissue.SOFT: ((-1.0, 2.5), (-0.5, 3.5), (-1.0, 1.5), (-1.0, 1.5)),
    Tissue.AIR: ((-3.5, -2.5), (-3.0, -2.0), (-1.8, -1.5), (-2.6, -2.0)),
}


@dataclass(frozen=True)
class Contrasts:
    """Measured brightness to draw from.

    Attributes:
        healthy: spread of `healthy_levels`.
        tumour, textures: spreads of the levels and textures in `tumour_levels`.
    """

    healthy: Spread = HEALTHY_LEVELS
    tumour: Spread = TUMOUR_LEVELS
    textures: Spread = TUMOUR_TEXTURES

    @property
    def spreads(self) -> tuple[Spread, Spread, Spread]:
        """All three spreads."""
        return self.healthy, self.tumour, self.textures


@dataclass(frozen=True, kw_only=True)
class Palette:
    """The levels of one head and its tumours, in z-scores of t1n, t1c, t2w, t2f.

    Attributes:
        tissues: (n_tissues, 4).
        edema, enhancing, cavity: (4,).
        cores: (3, 4): three kinds of core that one tumour may mix, the last of them blood or protein.
        textures: (3, 4) standard deviation within edema, enhancing tumour and core.
        kept: fraction of the healthy tissue's structure that shows through edema.
    """

    tissues: np.ndarray
    edema: np.ndarray
    enhancing: np.ndarray
    cavity: np.ndarray
    cores: np.ndarray
    textures: np.ndarray
    kept: float


def draw_palette(
    rng: np.random.Generator, contrasts: Contrasts, tissues: np.ndarray, *, settings: HeadSettings
) -> Palette:
    """The healthy head's levels, together with random levels of its tumours.

    Args:
        tissues: (n_tissues, 4) levels of the healthy head after z-scoring.
    """
    white, grey = tissues[Tissue.WHITE], tissues[Tissue.CORTEX]
    edema, enhancing, core = REDRAWN + contrasts.tumour.draw(rng, wider=settings.wider).reshape(3, len(SEQUENCES))
    edema = _seen(rng, edema, tissues, share=settings.faint_share)
    least = max(white[T1C], grey[T1C], edema[T1C]) + LEAST_ENHANCED
    enhancing[T1C] = max(enhancing[T1C], least + rng.exponential(0.3))
    second = (REDRAWN + contrasts.tumour.draw(rng, wider=settings.wider).reshape(3, len(SEQUENCES)))[2]
    if rng.random() < INFILTRATED:
        core = edema + rng.uniform(0, 0.6) * (core - edema)
    third = core + np.array([rng.uniform(0, 2.5), rng.uniform(0, 1), rng.uniform(-2, 1), rng.uniform(-1.5, 1)])
    cavity = tissues[Tissue.VENTRICLE] + rng.normal(0, [0.2, 0.2, 0.4, 0.5])
    textures = np.abs(contrasts.textures.draw(rng, wider=1.0).reshape(3, len(SEQUENCES)))
    return Palette(
        tissues=tissues,
        edema=edema,
        enhancing=enhancing,
        cavity=cavity,
        cores=np.stack([core, (core + second) / 2 if rng.random() < 0.6 else core, third]),
        textures=textures * rng.uniform(0.4, 1.2),
        kept=rng.uniform(0.1, 0.5),
    )


def draw_tissues(rng: np.random.Generator, healthy: Spread, *, settings: HeadSettings) -> np.ndarray:
    """(n_tissues, 4) levels; unmeasured tissues are derived from measured ones or drawn from a table of ranges."""
    white, grey, fluid = SHRUNK * healthy.draw(rng, wider=HEALTHY_WIDER * settings.wider).reshape(3, len(SEQUENCES))
    fluid[T2W] = max(fluid[T2W], grey[T2W] + rng.uniform(0.9, 1.6))  # whatever was drawn, fluid is bright in t2w
    fluid[T2F] = min(fluid[T2F], white[T2F] - rng.uniform(0.2, 0.8), grey[T2F] - rng.uniform(0.2, 0.8))
    levels = np.zeros((len(Tissue), len(SEQUENCES)))
    deep = grey + rng.uniform(0.15, 0.7) * (white - grey)
    levels[Tissue.WHITE], levels[Tissue.CORTEX] = white, grey
    levels[Tissue.DEEP_GREY] = deep + rng.normal(0, 0.1, 4)
    levels[Tissue.PALLIDUM] = (deep + white) / 2 - np.array([0, 0, 1, 1]) * rng.uniform(0, 0.7)
    levels[Tissue.CEREBELLUM_GREY] = grey + rng.normal(0, 0.15, 4) + 0.2 * (white - grey)
    levels[Tissue.CEREBELLUM_WHITE] = white + rng.normal(0, 0.15, 4)
    levels[Tissue.STEM] = white + rng.normal(0, 0.15, 4) - [0.2, 0.2, 0, 0]
    lesion = np.array([-0.6, -0.5, 0.9, 1.6]) * rng.uniform(0, 1.3)
    levels[Tissue.LESION] = white + lesion
    levels[Tissue.VENTRICLE] = grey + rng.uniform(1.0, 1.45) * (fluid - grey)
    levels[Tissue.FLUID] = grey + rng.uniform(0.8, 1.3) * (fluid - grey)
    levels[Tissue.SULCUS] = grey + rng.uniform(0.35, 0.9) * (fluid - grey)
    for tissue, ranges in _TABLE.items():
        levels[tissue] = [rng.uniform(low, high) for low, high in ranges]
    return levels


def _seen(rng: np.random.Generator, edema: np.ndarray, tissues: np.ndarray, *, share: float) -> np.ndarray:
    """The levels of edema, closer to healthy tissue in some heads but never so close that it could not be seen."""
    healthy = tissues[[Tissue.WHITE, Tissue.CORTEX]]
    if rng.random() < share:
        edema = healthy[0] + rng.uniform(0.25, 0.7) * (edema - healthy[0])
    lacking = LEAST_SEEN + rng.exponential(0.1) - (edema - healthy.max(axis=0))[[T2W, T2F]]
    if lacking.min() > 0:  # one sequence must show it: the one that comes closest to doing so
        edema = edema.copy()
        edema[(T2W, T2F)[int(lacking.argmin())]] += lacking.min()
    return edema
