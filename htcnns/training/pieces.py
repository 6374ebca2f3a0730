"""Small cubes with truth as prepared cases, resampled to 1 mm."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from htcnns.errors import InputError
from htcnns.files.atomic import require_writable, sweep
from htcnns.files.names.brats import patient_of
from htcnns.files.pieces import Piece, read_pieces
from htcnns.files.prepared_cases import (
    Card,
    CaseKind,
    PreparedCase,
    has_key,
    key_of,
    prepared_case,
    prepared_path,
    read_card,
    write_prepared,
)
from htcnns.image.resample import resample, resample_scan
from htcnns.labels import SEQUENCES, decode
from htcnns.training.cases import BY_NAME, TruthRule, resample_labels
from htcnns.volume import bounding_box, millimetre_shape

_NUMBER = re.compile(r"[-_][a-z]+\d+$", re.IGNORECASE)  # the cube's suffix to its case's name: _lesion12
_WHOLLY = 0.999  # fraction of a voxel's interpolation weight that must lie on known voxels


def pack_pieces(path: Path, cache: Path, rule: TruthRule, *, patients: Mapping[str, str] = BY_NAME) -> tuple[Card, ...]:
    """Prepare every cube of a file once, as `pack` does with whole cases; up-to-date files are not written again.

    Args:
        path: file of cubes; see `read_pieces`.
        cache: output folder, with one file per cube.
        rule: how the truths are read; its pattern is ignored.
        patients: patient of each case whose name does not identify one; a case is a cube's name without its last word.

    Raises:
        InputError: `read_pieces` refuses the file, no cube has a known voxel, or a truth has an unknown number.
        OutputError: the cache cannot be written.
    """
    numbers = sorted((number, label.name) for label, number in rule.labels.numbers.items())
    file_key = key_of("", f"{numbers} {[region.name for region in rule.regions]}", [path])
    require_writable(cache)
    sweep(cache)
    cards = []
    for piece in read_pieces(path):
        case = _NUMBER.sub("", piece.name)
        patient = patients.get(case) or patient_of(case)
        key = key_of(piece.name, f"{file_key} {patient}", [])
        card = _write(piece, rule, patient, key, cache)
        if card:
            cards.append(card)
    if not cards:
        raise InputError("holds no cube with a known voxel", place=path, remedy="Make it again.")
    return tuple(cards)


def _write(piece: Piece, rule: TruthRule, patient: str, key: str, cache: Path) -> Card | None:
    """The card of a cube, after writing its file unless that is up to date; None if no voxel is known."""
    path = prepared_path(cache, piece.name)
    if has_key(path, key):
        return read_card(path)
    case = _prepare(piece, rule, patient, key)
    if case is None:
        return None
    write_prepared(cache, case)
    return case.card


def _prepare(piece: Piece, rule: TruthRule, patient: str, key: str) -> PreparedCase | None:
    """The cube at 1 mm, cropped to its known voxels; None if there are none."""
    shape = millimetre_shape(piece.label_map.shape, piece.spacing_mm)
    inside = resample(piece.inside[None].astype(np.float32), shape)[0] >= _WHOLLY
    box = bounding_box(inside)
    if box is None:
        return None
    head = np.asarray(piece.z_scores.any(axis=0, keepdims=True), np.float32)
    brain = resample(head, shape)[0] >= 0.5
    z_scores = np.stack([resample_scan(scan, shape) for scan in piece.z_scores]) * (brain & inside)
    label_map = resample_labels(decode(piece.label_map, rule.labels, where=piece.name), shape) * inside
    card = Card(
        name=piece.name,
        kind=CaseKind.PIECE,
        patients=(patient,),
        sequences=SEQUENCES,
        known=rule.regions,
        shape=inside[box].shape,
        key=key,
    )
    return prepared_case(card, z_scores[(..., *box)], label_map[box], inside=np.ascontiguousarray(inside[box]))
