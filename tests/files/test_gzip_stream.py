"""Gzip members with long header fields are read or refused with a sentence, and empty files are reported."""

import gzip
import struct
import zlib
from pathlib import Path

import pytest

from htcnns.errors import InputError
from htcnns.files.gzip_stream import open_packed

CONTENT = b"voxels" * 99
FLAGS = {"name": 8, "comment": 16}


def _packed(field: str, n_bytes: int) -> bytes:
    """One gzip member whose name or comment has `n_bytes` bytes."""
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(CONTENT) + packer.flush()
    head = b"\x1f\x8b\x08" + bytes((FLAGS[field],)) + bytes(4) + b"\0\3" + b"A" * n_bytes + b"\0"
    return head + packed + struct.pack("<II", zlib.crc32(CONTENT), len(CONTENT))


def _read(path: Path) -> bytes:
    with open_packed(path) as stream:
        return stream.read()


@pytest.mark.parametrize("field", FLAGS)
def test_a_field_of_moderate_length_is_skipped(tmp_path: Path, field: str) -> None:
    (tmp_path / "x.gz").write_bytes(_packed(field, 60_000))
    assert _read(tmp_path / "x.gz") == CONTENT == gzip.decompress(_packed(field, 60_000))


@pytest.mark.parametrize("field", FLAGS)
def test_a_field_of_more_than_half_a_mebibyte_is_refused(tmp_path: Path, field: str) -> None:
    (tmp_path / "x.gz").write_bytes(_packed(field, 600_000))
    with pytest.raises(InputError, match=r"x\.gz: damaged \(.*; expected whole gzip data"):
        _read(tmp_path / "x.gz")


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_an_empty_file_is_reported_as_empty_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InputError) as caught:
        _read(tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path}/{name}: is empty; found 0 bytes, expected a NIfTI file. Copy or download it again."
    )
