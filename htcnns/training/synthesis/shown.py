"""A picture of synthetic heads, each below a real case where there are some, to see what gives them away."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice, zip_longest
from pathlib import Path

import numpy as np

from htcnns.files.atomic import write_named
from htcnns.files.cases import Case, find_cases
from htcnns.files.nifti import read_label_map, read_labels
from htcnns.files.scans import read_case
from htcnns.image.preprocess import PreprocessSettings, preprocess
from htcnns.labels import LabelSet
from htcnns.reports.gallery import Shown, gallery
from htcnns.reports.picture import png_bytes
from htcnns.training.synthesis.series import Material, head_name, head_of_series
from htcnns.training.synthesis.settings import HeadSettings
from htcnns.volume import turn

N_SHOWN = 4  # heads in a picture


def write_gallery(
    path: Path,
    material: Material,
    numbers: Iterable[int],
    *,
    seed: int,
    settings: HeadSettings,
    beside: tuple[Path, LabelSet] | None = None,
) -> None:
    """Write the picture as a PNG; a symbolic link is followed.

    Args:
        numbers: numbers of heads in the series; the first N_SHOWN are shown.
        beside: folder of real cases, and the label set of their truths; None shows synthetic heads alone.

    Raises:
        InputError: a real case cannot be read.
        OutputError: the file cannot be written.
    """
    made = list(_synthetic(material, islice(numbers, N_SHOWN), seed=seed, settings=settings))
    real = list(islice(_real(*beside), len(made))) if beside else []
    rows = [row for row in chain.from_iterable(zip_longest(real, made)) if row]
    write_named(path, png_bytes(gallery(rows)))


def _synthetic(material: Material, numbers: Iterable[int], *, seed: int, settings: HeadSettings) -> Iterator[Shown]:
    for number in numbers:
        head = head_of_series(material, number, seed=seed, settings=settings)
        yield Shown(head_name(seed, number), head.sequences, head.truth)


def _real(folder: Path, numbers: LabelSet) -> Iterator[Shown]:
    for case in find_cases(folder):
        volume = read_case(case)
        prepared = preprocess(volume.array, volume.affine, PreprocessSettings(window=(1, 1, 1)))
        undo = prepared.undo
        truth = turn(_truth(case, numbers, volume.array.shape[1:]), undo.order, undo.flips)[undo.box]
        yield Shown(case.name, prepared.array, np.ascontiguousarray(truth))


def _truth(case: Case, numbers: LabelSet, shape: tuple[int, ...]) -> np.ndarray:
    """The truth of a case with 1 mm voxels; all 0 if the case has no truth or an empty one."""
    if case.truth is None or not read_label_map(case.truth).array.any():
        return np.zeros(shape, np.uint8)
    return read_labels(case.truth, numbers).array
