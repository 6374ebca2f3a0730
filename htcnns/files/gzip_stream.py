"""The bytes of a file, gzip or plain: read no further than asked, and packed to the same bytes in every run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from isal import igzip, igzip_lib

from htcnns.errors import InputError

_GZIP_MAGIC = b"\x1f\x8b"
PIECE = 2**20
_LEVEL = 2  # of isal's 0 to 3; 3 is far slower and makes label maps larger


@contextmanager
def open_packed(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes as a stream, unpacked where they are gzip.

    Raises:
        InputError: the file cannot be read or unpacked, now or while the stream is read, or its name is wrong.
    """
    try:
        if not path.is_file():  # this also raises, in a folder without rights
            raise InputError(
                "is not a regular file" if path.exists() else "does not exist",
                place=path,
                expected="a NIfTI file",
                remedy="Check the name and the link.",
            )
        with path.open("rb") as file:
            start = file.read(2)
            if not start:
                raise InputError(
                    "is empty",
                    place=path,
                    found="0 bytes",
                    expected="a NIfTI file",
                    remedy="Copy or download it again.",
                )
            is_gzip = start == _GZIP_MAGIC
            file.seek(0)
            _require_honest_name(path, is_gzip=is_gzip)
            yield igzip.open(file) if is_gzip else file
    except EOFError as error:
        raise InputError(
            "cut short; the gzip data end too early", place=path, remedy="Copy or download it again."
        ) from error
    except (igzip_lib.IsalError, igzip.BadGzipFile, OverflowError) as error:  # type: ignore[misc]  # isal's stub
        # OverflowError: a name or comment of more than half a MiB
        raise InputError(
            f"damaged ({error})", place=path, expected="whole gzip data", remedy="Copy or download it again."
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror or error})", place=path, remedy="Make it readable or copy it again."
        ) from error


def pieces(stream: BinaryIO, n_bytes: int) -> Iterator[np.ndarray]:
    """The next `n_bytes` of the stream as (n,) uint8 of one MiB, the last one shorter; fewer where the stream ends.

    Every piece reuses the same memory, which stays in the processor's cache: much cheaper than one large new array.
    """
    buffer = np.empty(min(n_bytes, PIECE), np.uint8)
    while n_bytes > 0:
        piece = buffer[:n_bytes]
        n_read = _fill(piece, stream)
        yield piece[:n_read]
        n_bytes = n_bytes - n_read if n_read == piece.size else 0


def pack(content: bytes) -> bytes:
    """The content as gzip without time or file name, so that equal content is packed to equal bytes."""
    return igzip.compress(content, _LEVEL, mtime=0)


def _fill(piece: np.ndarray, stream: BinaryIO) -> int:
    """Fill the piece from the stream and return the number of bytes read."""
    n_read = 0
    while n := stream.readinto(piece.data[n_read:]):  # type: ignore[attr-defined]
        n_read += n
    return n_read


def _require_honest_name(path: Path, *, is_gzip: bool) -> None:
    """Raise InputError where a plain file is named as gzip, or the reverse."""
    name = path.name.lower()
    if name.endswith(".gz") and not is_gzip:
        raise InputError(
            "named .gz but is not gzip",
            place=path,
            expected="gzip data",
            remedy="Take .gz out of its name or gzip it.",
        )
    if name.endswith(".nii") and is_gzip:
        raise InputError(
            "named .nii but is gzip", place=path, expected="uncompressed data", remedy=f"Rename it to {path.name}.gz."
        )
