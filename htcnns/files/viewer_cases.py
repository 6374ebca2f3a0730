"""The cases that the viewer shows: their scans and label maps, read and checked like those of any other case."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from htcnns.errors import InputError
from htcnns.files.case import Case
from htcnns.files.cases import search
from htcnns.files.folder import entries
from htcnns.files.gzip_stream import pack
from htcnns.files.nifti import read_grid, read_labels, read_volume
from htcnns.files.nifti_header import file_content, header_of
from htcnns.files.outputs import mask_name
from htcnns.labels import LabelSet, Sequence
from htcnns.reports.slices import background
from htcnns.volume import Box, Volume, bounding_box, grid_difference

MARGIN = 4  # voxels left around the head
_Read = Volume | InputError | None


@dataclass(frozen=True, kw_only=True)
class ShownCase:
    """A case, and the label map that is laid over its scans.

    Attributes:
        case: case with the scans.
        mask: file of the label map; None where there is none.
        is_truth: whether the label map is the rater's, found beside the scans.
        numbers: label set that the file is written in.
    """

    case: Case
    mask: Path | None
    is_truth: bool
    numbers: LabelSet


@dataclass(frozen=True)
class ShownVolumes:
    """What was read of a case; a file that cannot be used is represented by its error.

    Attributes:
        scans: (I, J, K) float32 each, cropped to one box around everything outside the background; not cropped where
            the grids differ.
        mask: (I, J, K) uint8 of Label values, cropped likewise; None where the case has none.
    """

    scans: Mapping[Sequence, _Read]
    mask: _Read


def shown_cases(
    folder: Path,
    masks: Path | None,
    *,
    numbers: Callable[[str], LabelSet],
    channels: tuple[Sequence, ...] | None = None,
) -> tuple[ShownCase, ...]:
    """Every case in a folder, which may be one case itself, sorted by name; incomplete and unclear cases are included.

    Args:
        masks: folder that a run wrote its masks to; None takes the truths beside the scans.
        numbers: function from a case's name to the label set of its label map.
        channels: as for `search`.

    Raises:
        InputError: there is no case, or the folder of masks cannot be listed.
    """
    cases = search(folder, channels=channels).cases
    remedy = "Give the folder that the masks were written to."
    files = entries(masks, expected="a folder of masks", remedy=remedy) if masks else []
    by_name = {path.name: path for path in files}
    return tuple(
        ShownCase(
            case=case,
            mask=_mask_of(case, by_name) if masks else case.truth,
            is_truth=masks is None,
            numbers=numbers(case.name),
        )
        for case in cases
    )


def read_shown(shown: ShownCase) -> ShownVolumes:
    """The scans of the case, each read independently, and its label map.

    A label map is refused where its file cannot be used, has numbers of another label set, or lies on another grid
    than the scans.
    """
    scans = {sequence: _or_error(read_volume, path) for sequence, path in shown.case.files.items()}
    mask = _or_error(_read_mask, shown)
    box = _common_box([volume for volume in (*scans.values(), mask) if isinstance(volume, Volume)])
    return ShownVolumes({sequence: _cropped(scan, box) for sequence, scan in scans.items()}, _cropped(mask, box))


def nifti_content(volume: Volume) -> bytes:
    """The bytes of a gzipped NIfTI file with the volume's voxels and its affine, and nothing else."""
    array = np.asfortranarray(volume.array)
    return pack(file_content(header_of(array.shape, array.dtype, volume.affine), array))


def _mask_of(case: Case, files: Mapping[str, Path]) -> Path | None:
    """The case's mask among files by name, under its full or its short name; None where there is none."""
    return files.get(mask_name(case, short=False)) or files.get(mask_name(case, short=True))


def _read_mask(shown: ShownCase) -> Volume | None:
    if shown.mask is None:
        return None
    volume = read_labels(shown.mask, shown.numbers)
    reference = shown.case.reference
    difference = grid_difference(volume.grid, read_grid(reference)) if reference else ""
    if difference:
        raise InputError(
            difference,
            place=shown.mask,
            expected="the grid of the case's scans",
            remedy="Give the folder of this case's masks.",
        )
    return volume


def _or_error(read: Callable[..., Volume | None], source: object) -> _Read:
    try:
        return read(source)
    except InputError as error:
        return error


def _common_box(volumes: list[Volume]) -> Box | None:
    """The box around everything outside the background of any volume; None if it is empty or the grids differ."""
    if not volumes or any(grid_difference(volume.grid, volumes[0].grid) for volume in volumes):
        return None
    shown = np.zeros(volumes[0].array.shape, bool, order="F")
    for volume in volumes:
        shown |= volume.array != background(volume.array)
    box = bounding_box(shown)
    if box is None:
        return None
    i, j, k = (slice(max(0, part.start - MARGIN), part.stop + MARGIN) for part in box)
    return i, j, k


def _cropped(volume: _Read, box: Box | None) -> _Read:
    """The part of the volume in the box, its affine adjusted; anything but a volume is returned unchanged."""
    if not isinstance(volume, Volume) or box is None:
        return volume
    affine = volume.affine.copy()
    affine[:, 3] = affine @ [*(part.start for part in box), 1]
    return Volume(volume.array[box].copy(order="F"), affine)
