"""Prepared cases on disk: one small file per case, named after it, with the key of what it was made from."""

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

FORMAT = 1  # also stands for how cases are prepared: a change of preprocessing that changes arrays needs a new number
ENDING = ".case.npz"
FINEST = 0.04  # z-scores; steps below a fifth of a scanner's noise would only make files larger
TAIL = 1e-4  # share of a sequence's voxels at either end of its range that are cut off, such as single bright vessels
N_PLACES = 2048  # voxels of each label that are kept to draw patches around
PACK_AGAIN = "Pack the cases again."
_UNREADABLE = (OSError, ValueError, KeyError, TypeError)


class CaseKind(StrEnum):
    """What a prepared case shows."""

    HEAD = "head"  # a whole brain; what lies beyond its array is background
    PIECE = "piece"  # a part of one; what lies beyond its array is unknown
    SYNTHETIC = "synthetic"  # a whole brain that nobody has


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a prepared case is, without its arrays.

    Attributes:
        name: name of the case.
        kind: what it shows.
        patients: everybody of whom something is in it, such as the patient whose tumour a synthetic head carries.
        sequences: sequences that were there; the others are 0 everywhere.
        known: regions that the truth tells; empty for a case without truth.
        shape: (i, j, k) of its arrays.
        key: digest of what it was made from and of how.
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
    """A case as training draws patches from it; its arrays are read-only.

    Attributes:
        card: what it is.
        array: (4, i, j, k) uint8; 0 outside the brain, else a z-score by `table`.
        table: (4, 256) float32 z-score of each number of each sequence; that of number 0 is 0.
        label_map: (i, j, k) uint8 truth.
        inside: (i, j, k) bool where scans and truth are known; None for everywhere.
        places: up to N_PLACES voxels of each label that occurs, (n, 3); those of the brain under BACKGROUND.
        key_points: (n, 3) int16 voxels on the boundary of each region; None where no fit asked for them.
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
        """Memory that the arrays take."""
        inside = 0 if self.inside is None else self.inside.nbytes
        return self.array.nbytes + self.label_map.nbytes + inside


def prepared_case(
    card: Card, z_scores: np.ndarray, label_map: np.ndarray, *, inside: np.ndarray | None = None
) -> PreparedCase:
    """A case with its intensities in 8 bits, up to 255 equal steps over the range of each sequence.

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
    """Write the case into the folder under its name; a reader finds the old file or the new one, never half of one.

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
        InputError: the file is none of a prepared case, or of another version.
    """
    try:
        arrays = read_arrays(path, "card", "array", "table", "label_map", "inside")
        card = _card(arrays["card"], path)
        return _frozen(card, arrays["array"], arrays["table"], arrays["label_map"], arrays.get("inside"))
    except _UNREADABLE as error:
        raise _no_case(path, error) from error


def read_card(path: Path) -> Card:
    """What the case in a file is; its arrays are not read.

    Raises:
        InputError: as `read_prepared`.
    """
    try:
        return _card(read_arrays(path, "card")["card"], path)
    except _UNREADABLE as error:
        raise _no_case(path, error) from error


def read_cards(folder: Path) -> dict[Path, Card]:
    """The cards of all prepared cases in a folder, by file, in the order of their names.

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
    """The file that holds the prepared case of that name."""
    return folder / f"{name}{ENDING}"


def key_of(case_name: str, how: str, files: Iterable[Path]) -> str:
    """Digest of a case's name, of how it is prepared, and of the content of its files in that order.

    Raises:
        InputError: a file cannot be read.
    """
    key = hashlib.sha256(f"{FORMAT} {case_name} {how}".encode())
    for path in files:
        try:
            with path.open("rb") as file:
                key.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise InputError(
                f"cannot be read ({error.strerror})", place=path, remedy="Give its owner's rights."
            ) from error
    return key.hexdigest()


def has_key(path: Path, key: str) -> bool:
    """Whether the file holds a case of this version that was made from the same; False for every other file."""
    try:
        return read_card(path).key == key
    except InputError:
        return False


def _frozen(
    card: Card, array: np.ndarray, table: np.ndarray, label_map: np.ndarray, inside: np.ndarray | None
) -> PreparedCase:
    """The case with the places of its labels, all arrays read-only."""
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
    """Some voxels of each label that occurs as (n, 3) int16, and of the brain under BACKGROUND."""
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
