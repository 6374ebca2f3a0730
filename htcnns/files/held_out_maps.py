"""Probabilities from members for cases that they were not trained on: 8-bit, around the tumour, one file per case."""

import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from htcnns.errors import InputError
from htcnns.files.atomic import write_whole
from htcnns.files.npz import read_arrays
from htcnns.files.places import is_folder
from htcnns.volume import Box, Shape, bounding_box, uncrop

FORMAT = 1
ENDING = ".held-out.npz"
LARGEST = 255  # the number of probability 1
_MAKE_AGAIN = "Delete it and run the cross-validation again."
_UNREADABLE = (OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True, kw_only=True)
class MapCard:
    """Description of a file of probabilities, without its arrays.

    Attributes:
        case: name of the case.
        fold: number of the fold whose members made the probabilities.
        is_held_out: whether the fold holds the case out; False for an extra case that belongs to no fold.
        members, regions: names, in the order of the arrays.
        key: digest of the weights, the case and the settings, as from `map_key`.
    """

    case: str
    fold: int
    is_held_out: bool
    members: tuple[str, ...]
    regions: tuple[str, ...]
    key: str


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOutMap:
    """Probabilities and truth of one case, cropped to where either is above 0.

    Attributes:
        card: description of the file.
        numbers: (M, R, i, j, k) uint8, probabilities in steps of 1 / LARGEST.
        truth: (i, j, k) uint8 values of Label.
        box: position of both arrays in the whole case.
        shape: shape of the whole case.
    """

    card: MapCard
    numbers: np.ndarray
    truth: np.ndarray
    box: Box
    shape: Shape

    @property
    def cropped(self) -> np.ndarray:
        """(M, R, i, j, k) float32 probabilities inside the box."""
        return self.numbers.astype(np.float32) / LARGEST

    @property
    def probabilities(self) -> np.ndarray:
        """(M, R, I, J, K) float32 probabilities of the whole case."""
        return uncrop(self.cropped, self.box, self.shape)

    @property
    def label_map(self) -> np.ndarray:
        """(I, J, K) uint8 truth of the whole case."""
        return uncrop(self.truth, self.box, self.shape)


def held_out_map(card: MapCard, probabilities: np.ndarray, truth: np.ndarray) -> HeldOutMap:
    """The case in 8 bits, cropped; a probability of half a step (0.002) or less counts as 0.

    Args:
        probabilities: (M, R, I, J, K) float32, 0 to 1.
        truth: (I, J, K) uint8 values of Label.
    """
    numbers = np.rint(probabilities * LARGEST).astype(np.uint8)
    box = bounding_box((numbers != 0).any(axis=(0, 1)) | (truth != 0)) or (slice(0, 1),) * 3
    i, j, k = truth.shape
    return HeldOutMap(
        card=card,
        numbers=np.ascontiguousarray(numbers[(..., *box)]),
        truth=np.ascontiguousarray(truth[box]),
        box=box,
        shape=(i, j, k),
    )


def write_map_file(folder: Path, content: HeldOutMap) -> Path:
    """Write the case into the folder under its name, the whole file or none.

    Raises:
        OutputError: the file cannot be written.
    """
    entry = {"format": FORMAT} | {field.name: getattr(content.card, field.name) for field in fields(MapCard)}
    stream = io.BytesIO()
    np.savez_compressed(
        stream,
        allow_pickle=False,
        card=np.frombuffer(json.dumps(entry).encode(), np.uint8),
        numbers=content.numbers,
        truth=content.truth,
        starts=np.array([edge.start for edge in content.box]),
        shape=np.array(content.shape),
    )
    path = map_path(folder, content.card.case)
    write_whole(path, stream.getvalue())
    return path


def read_map_file(path: Path) -> HeldOutMap:
    """The case in a file.

    Raises:
        InputError: the file cannot be read, holds no such case, or is of another version.
    """
    try:
        arrays = read_arrays(path, "card", "numbers", "truth", "starts", "shape")
        card = _card(arrays["card"], path)
        truth = arrays["truth"]
        i, j, k = (slice(int(start), int(start) + n) for start, n in zip(arrays["starts"], truth.shape, strict=True))
        n_i, n_j, n_k = map(int, arrays["shape"])
        return HeldOutMap(card=card, numbers=arrays["numbers"], truth=truth, box=(i, j, k), shape=(n_i, n_j, n_k))
    except _UNREADABLE as error:
        raise _no_map(path, error) from error


def read_maps(folder: Path) -> list[HeldOutMap]:
    """All held-out cases in the folder of a cross-validation, sorted by name.

    Raises:
        InputError: there is none, or `read_map_file` refuses a file.
    """
    found = [read_map_file(path) for path in sorted(folder.glob(f"fold-*/maps/*{ENDING}"))]
    held_out = sorted((each for each in found if each.card.is_held_out), key=lambda each: each.card.case)
    if not held_out:
        raise InputError(
            "no held-out probabilities there" if is_folder(folder) else "no such folder",
            place=folder,
            expected="the output folder of a cross-validation",
            remedy="Run the cross-validation first.",
        )
    return held_out


def map_has_key(path: Path, key: str) -> bool:
    """Whether the file holds a case of this version with that key; False for every other file."""
    try:
        return _card(read_arrays(path, "card")["card"], path).key == key
    except (*_UNREADABLE, InputError):
        return False


def map_path(folder: Path, case: str) -> Path:
    """The file that holds the probabilities of the case of that name."""
    return folder / f"{case}{ENDING}"


def map_key(sha256s: Iterable[str], how: str) -> str:
    """Digest of the checksums of the weights that made a file, in their order, and of how it was made."""
    return hashlib.sha256(f"{FORMAT} {' '.join(sha256s)} {how}".encode()).hexdigest()


def _card(stored: np.ndarray, path: Path) -> MapCard:
    entry = json.loads(stored.tobytes())
    if entry.pop("format", None) != FORMAT:
        raise InputError("was made by another version of htcnns", place=path, remedy=_MAKE_AGAIN)
    return MapCard(**entry | {name: tuple(entry[name]) for name in ("members", "regions")})


def _no_map(path: Path, error: Exception) -> InputError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return InputError(f"holds no held-out probabilities ({reason})", place=path, remedy=_MAKE_AGAIN)
