"""Arrays of an .npz file, decompressed by isal in half the time that numpy takes to read them."""

import io
import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
from isal import isal_zlib

_LOCAL_HEADER = 30  # bytes before a member's name; the lengths of name and extra field are its last two numbers
_RAW = -15  # raw deflate, without a zlib header


def read_arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    """The named arrays that the file has, by name; other arrays are not decompressed, and nothing is unpickled.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not an .npz file, or an array is damaged, has objects, or is compressed as numpy never does.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                there = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            return {name: _array(file, there[name]) for name in names if name in there}
        except (zipfile.BadZipFile, NotImplementedError, EOFError, struct.error) as error:
            raise ValueError(str(error)) from error


def _array(file: BinaryIO, member: zipfile.ZipInfo) -> np.ndarray:
    content = io.BytesIO(_unpacked(_stored(file, member), member))
    return np.lib.format.read_array(content, allow_pickle=False)


def _stored(file: BinaryIO, member: zipfile.ZipInfo) -> bytes:
    """The member's bytes as stored in the file."""
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER)
    n_name, n_extra = struct.unpack("<HH", header[-4:])
    file.seek(n_name + n_extra, io.SEEK_CUR)
    return file.read(member.compress_size)


def _unpacked(stored: bytes, member: zipfile.ZipInfo) -> bytes:
    """The member's decompressed content; raises ValueError unless length and checksum are those in the archive."""
    if member.compress_type == zipfile.ZIP_STORED:
        content = stored
    elif member.compress_type == zipfile.ZIP_DEFLATED:
        try:
            content = isal_zlib.decompress(stored, _RAW, member.file_size)
        except isal_zlib.error as error:  # type: ignore[misc]  # isal's stub
            raise ValueError(f"{member.filename}: {error}") from error
    else:
        raise ValueError(f"{member.filename}: compression {member.compress_type}")
    if len(content) != member.file_size or isal_zlib.crc32(content) != member.CRC:
        raise ValueError(f"{member.filename}: its checksum is wrong")
    return content
