"""Prepared cases on disk: one small file per case, named after it, with a digest of what it was made from."""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from htcnns.errors import InputError
from htcnns.files.atomic import write_whole
from htcnns.files.npz import read_arrays
from htcnns.files.places import is_folder
from htcnns.labels import SEQUENCES, Label, Region, Sequence
from htcnns.volume import Shape

FORMAT = 1  # also covers how cases are prepared: a change of preprocessing that alters arrays needs a new number
ENDING = ".case.npz"
FINEST = 0.04  # smallest step, in z-scores; steps below a fifth of a scanner's noise would only make files larger
TAIL = 1e-4  # fraction of a sequence's voxels clipped at either end of its range, such as single bright vessels
N_PLACES = 2048  # voxels kept per label, to draw patches around
PACK_AGAIN = "Pack the cases again."
_UNREADABLE = (OSError, ValueError, KeyError, TypeError)


class CaseKind(StrEnum):
    """What a prepared case shows."""

    HEAD = "head"  # a whole brain; anything beyond its array is background
    PIECE = "piece"  # a part of a brain; anything beyond its array is unknown
    SYNTHETIC = "synthetic"  # a whole brain of no real patient


@dataclass(frozen=True, kw_only=True)
class Card:
    """A prepared case without its arrays.

    Attributes:
        name: name of the case.
        kind: what the case shows.
        patients: every patient whose data is in it, such as the one whose tumour a synthetic head has.
        sequences: sequences that were available; the others are 0 everywhere.
        known: regions that the truth annotates; empty for a case without truth.
        shape: (i, j, k) of its arrays.
        key: digest of what it was made from and how.
    """

    name: str
    kind: CaseKind
    patients: tuple[str, ...]
    sequences: tuple[Sequence, ...]
    known: tuple[Region, ...]
    shape: Shape
    key: str


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedCase:
    """A case from which training draws patches; its arrays are read-only.

    Attributes:
        card: the case without its arrays.
        array: (4, i, j, k) uint8; 0 outside the brain, else a number that `table` turns into a z-score.
        table: (4, 256) float32 z-score of each number of each sequence; that of number 0 is 0.
        label_map: (i, j, k) uint8 truth.
        inside: (i, j, k) bool where scans and truth are known; None for everywhere.
        places: (n, 3) voxels of each label that occurs, up to N_PLACES; under BACKGROUND, of the whole brain.
        key_points: (n, 3) int16 voxels on the boundary of each region; None unless a fit needs them.
    """

    card: Card
    array: np.ndarray
    table: np.ndarray
    label_map: np.ndarray
    inside: np.ndarray | None
    places: Mapping[int, np.ndarray]
    key_points: Mapping[Region, np.ndarray] | None = None

    @property
    def n_bytes(self) -> int:
        """Memory that the voxel arrays take."""
        inside = 0 if self.inside is None else self.inside.nbytes
        return self.array.nbytes + self.label_map.nbytes + inside


def prepared_case(
    card: Card, z_scores: np.ndarray, label_map: np.ndarray, *, inside: np.ndarray | None = None
) -> PreparedCase:
    """A case with its intensities in 8 bits: up to 255 evenly spaced values over the range of each sequence.

    Args:
        z_scores: (4, i, j, k) float32; 0 outside the brain.
        label_map: (i, j, k) uint8, values of Label.
        inside: (i, j, k) bool where scans and truth are known; None for everywhere.
    """
    array = np.zeros(z_scores.shape, np.uint8)
    table = np.zeros((len(z_scores), 256), np.float32)
    for values, numbers, row in zip(z_scores, array, table, strict=True):
        brain = values != 0
        if brain.any():
            low, high = np.quantile(values[brain], (TAIL, 1 - TAIL))
            step = max(float(high - low) / 254, FINEST)
            numbers[brain] = 1 + np.clip(np.rint((values[brain] - low) / step), 0, 254).astype(np.uint8)
            row[1:] = low + step * np.arange(255)
    return _frozen(card, array, table, np.ascontiguousarray(label_map, np.uint8), inside)


def write_prepared(folder: Path, case: PreparedCase) -> Path:
    """Write the case into the folder and return its path; readers see the old file or the new one, never a part.

    Raises:
        OutputError: the file cannot be written.
    """
    arrays = {
        "card": np.frombuffer(json.dumps(_entry(case.card)).encode(), np.uint8),
        "array": case.array,
        "table": case.table,
        "label_map": case.label_map,
    }
    if case.inside is not None:
        arrays["inside"] = case.inside
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    path = prepared_path(folder, case.card.name)
    write_whole(path, content.getvalue())
    return path


def read_prepared(path: Path) -> PreparedCase:
    """The case in a file.

    Raises:
        InputError: the file is not a prepared case, or is one of another version.
    """
    try:
        arrays = read_arrays(path, "card", "array", "table", "label_map", "inside")
        card = _card(arrays["card"], path)
        return _frozen(card, arrays["array"], arrays["table"], arrays["label_map"], arrays.get("inside"))
    except _UNREADABLE as error:
        raise _no_case(path, error) from error


def read_card(path: Path) -> Card:
    """The card of the case in a file; its arrays are not read.

    Raises:
        InputError: as `read_prepared`.
    """
    try:
        return _card(read_arrays(path, "card")["card"], path)
    except _UNREADABLE as error:
        raise _no_case(path, error) from error


def read_cards(folder: Path) -> dict[Path, Card]:
    """The cards of all prepared cases in a folder, by file, in the order of the file names.

    Raises:
        InputError: no such folder, no prepared case in it, or a file that `read_card` refuses.
    """
    paths = sorted(folder.glob(f"*{ENDING}"))
    if not paths:
        raise InputError(
            "no prepared cases there" if is_folder(folder) else "no such folder",
            place=folder,
            expected=f"a folder with files that end in {ENDING}",
            remedy="Pack cases into it first.",
        )
    return {path: read_card(path) for path in paths}


def prepared_path(folder: Path, name: str) -> Path:
    """The file for the prepared case with that name."""
    return folder / f"{name}{ENDING}"


def key_of(case_name: str, how: str, files: Iterable[Path]) -> str:
    """Digest of a case's name, of how it is prepared, and of the content of its files in the given order.

    Raises:
        InputError: a file cannot be read.
    """
    key = hashlib.sha256(f"{FORMAT} {case_name} {how}".encode())
    for path in files:
        try:
            with path.open("rb") as file:
                key.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})", place=path, remedy="Make it readable.") from error
    return key.hexdigest()


def has_key(path: Path, key: str) -> bool:
    """Whether the file is a prepared case of this version with that key; False for every other file."""
    try:
        return read_card(path).key == key
    except InputError:
        return False


def _frozen(
    card: Card, array: np.ndarray, table: np.ndarray, label_map: np.ndarray, inside: np.ndarray | None
) -> PreparedCase:
    """The case with the places of its labels and with read-only arrays."""
    for each in (array, table, label_map, inside):
        if each is not None:
            each.setflags(write=False)
    return PreparedCase(
        card=card,
        array=array,
        table=table,
        label_map=label_map,
        inside=inside,
        places=_places(array, label_map, np.random.default_rng(int(card.key[:8], 16))),
    )


def _places(array: np.ndarray, label_map: np.ndarray, rng: np.random.Generator) -> dict[int, np.ndarray]:
    """Up to N_PLACES voxels of each label that occurs as (n, 3) int16; under BACKGROUND, of the whole brain."""
    marked = np.flatnonzero(label_map)
    labels = label_map.reshape(-1)[marked]
    voxels = {int(label): marked[labels == label] for label in Label if label is not Label.BACKGROUND}
    voxels[int(Label.BACKGROUND)] = np.flatnonzero(np.bitwise_or.reduce(array))
    places = {}
    for label, found in voxels.items():
        if found.size:
            chosen = found if found.size <= N_PLACES else found[rng.integers(found.size, size=N_PLACES)]
            places[label] = np.stack(np.unravel_index(chosen, label_map.shape), axis=1).astype(np.int16)
    return places


def _entry(card: Card) -> dict:
    """The card as JSON."""
    return {
        "format": FORMAT,
        "name": card.name,
        "kind": str(card.kind),
        "patients": list(card.patients),
        "sequences": [str(sequence) for sequence in card.sequences],
        "known": [region.name for region in card.known],
        "shape": list(card.shape),
        "key": card.key,
    }


def _card(stored: np.ndarray, path: Path) -> Card:
    entry = json.loads(stored.tobytes())
    if entry.get("format") != FORMAT:
        raise InputError(
            "was packed by another version of htcnns",
            place=path,
            found=f"format {entry.get('format')}",
            expected=FORMAT,
            remedy=PACK_AGAIN,
        )
    i, j, k = entry["shape"]
    return Card(
        name=entry["name"],
        kind=CaseKind(entry["kind"]),
        patients=tuple(entry["patients"]),
        sequences=tuple(sequence for sequence in SEQUENCES if sequence in entry["sequences"]),
        known=tuple(Region[name] for name in entry["known"]),
        shape=(i, j, k),
        key=entry["key"],
    )


def _no_case(path: Path, error: Exception) -> InputError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(f"is not a prepared case ({reason})", place=path, remedy=PACK_AGAIN)
