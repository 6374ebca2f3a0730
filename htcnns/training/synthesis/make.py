"""A synthetic head from beginning to end, reproducible from its generator."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from htcnns.files.shapes import TumourShape
from htcnns.image.preprocess import PreprocessSettings, preprocess
from htcnns.labels import Label
from htcnns.training.synthesis.contrasts import Contrasts, draw_palette, draw_tissues
from htcnns.training.synthesis.fields import sampled
from htcnns.training.synthesis.heads import FRAME_CORNER, Anatomy, draw_pose, push_of, strip
from htcnns.training.synthesis.paint import paint_head, paint_tumours, scan, standardised
from htcnns.training.synthesis.settings import HeadSettings
from htcnns.training.synthesis.tumours import draw_tumours, fitted
from htcnns.volume import Box, Shape, bounding_box, uncrop

GRID: Shape = (240, 240, 155)  # of BraTS
AFFINE = np.array([[-1.0, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]])
AFFINE.setflags(write=False)
MARGIN = 4


@dataclass(frozen=True, kw_only=True)
class SyntheticHead:
    """A synthetic head, as networks see it and as a scanner stores it.

    Attributes:
        sequences: (4, i, j, k) float32 as networks see them: cropped to the brain, z-scored, 0 outside.
        truth: (i, j, k) uint8 of Label values on the same grid.
        scans: (4, *FRAME) int16 as a scanner stores them, stripped.
        frame_truth: (*FRAME) uint8 of Label values.
        shapes: names of the real shapes among its tumours.
    """

    sequences: np.ndarray
    truth: np.ndarray
    scans: np.ndarray
    frame_truth: np.ndarray
    shapes: tuple[str, ...]

    def as_case(self) -> tuple[np.ndarray, np.ndarray]:
        """(4, 240, 240, 155) int16 scans and (240, 240, 155) uint8 truth on the grid of BraTS, see AFFINE."""
        i, j, k = (slice(a, a + n) for a, n in zip(FRAME_CORNER, self.frame_truth.shape, strict=True))
        return uncrop(self.scans, (i, j, k), GRID), uncrop(self.frame_truth, (i, j, k), GRID)


def make_head(
    rng: np.random.Generator,
    anatomy: Anatomy,
    shapes: Sequence[TumourShape],
    contrasts: Contrasts,
    *,
    settings: HeadSettings,
) -> SyntheticHead:
    """A head with or without tumours.

    Args:
        rng: source of all that is random.
        anatomy: anatomy of the healthy head.
        shapes: real tumours to choose from; if empty, all are grown.
        contrasts: brightness measured on real cases.
    """
    head_rng, tumour_rng, paint_rng, scan_rng = rng.spawn(4)
    pose = draw_pose(head_rng, anatomy)
    source = anatomy.tissues[None].astype(np.float32)
    healthy = sampled(source, pose.coordinates(), nearest=True)[0].astype(np.uint8)
    tumours = draw_tumours(tumour_rng, healthy, shapes, settings=settings)
    drawn = tumours.label_map
    coordinates = pose.coordinates(push_of(tumour_rng, drawn, (drawn == Label.ET) | (drawn == Label.NCR)))
    tissues = sampled(source, coordinates, nearest=True)[0].astype(np.uint8)
    brain = strip(head_rng, tissues)
    truth = fitted(tumour_rng, drawn, tissues, brain)
    box = _around(brain)
    levels = draw_tissues(paint_rng, contrasts.healthy, settings=settings)
    painted = paint_head(paint_rng, anatomy.tissues, coordinates[(slice(None), *box)], tissues[box], levels=levels)
    painted, levels = standardised(painted, brain[box], levels)
    palette = draw_palette(paint_rng, contrasts, levels, settings=settings)
    painted = paint_tumours(paint_rng, painted, truth[box], palette=palette)
    scans = uncrop(scan(scan_rng, painted, brain[box], settings=settings), box, brain.shape)
    prepared = preprocess(scans.astype(np.float32), AFFINE, PreprocessSettings(window=(1, 1, 1)))
    return SyntheticHead(
        sequences=prepared.array,
        truth=truth[prepared.undo.box],
        scans=scans,
        frame_truth=truth,
        shapes=tumours.shapes,
    )


def _around(brain: np.ndarray) -> Box:
    """The brain's box with a margin of MARGIN voxels, which blur and noise need."""
    box = bounding_box(brain)
    assert box is not None
    i, j, k = (
        slice(max(0, edge.start - MARGIN), min(n, edge.stop + MARGIN)) for edge, n in zip(box, brain.shape, strict=True)
    )
    return i, j, k
