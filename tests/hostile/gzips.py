"""Hostile gzip: members with odd fields, cut short, damaged or followed by something else."""

import struct
import zlib
from collections.abc import Callable

import numpy as np

_TEXT, _CRC, _EXTRA, _NAME, _COMMENT = 1, 2, 4, 8, 16
_SIZES = (0, 1, 255, 1000, 2**16, 2**19 - 20, 2**19, 2**19 + 1, 600 * 1024)  # isal reads 512 KiB of a header at most


def member(
    content: bytes,
    *,
    name: bytes | None = None,
    comment: bytes | None = None,
    extra: bytes | None = None,
    flags: int = 0,
) -> bytes:
    """One gzip member with those fields; `flags` are added to those of the fields."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = packer.compress(content) + packer.flush()
    fields = b""
    if extra is not None:
        flags, fields = flags | _EXTRA, fields + struct.pack("<H", len(extra)) + extra
    for flag, text in ((_NAME, name), (_COMMENT, comment)):
        if text is not None:
            flags, fields = flags | flag, fields + text + b"\0"
    head = b"\x1f\x8b\x08" + bytes((flags,)) + bytes(4) + b"\0\3"
    return head + fields + packed + struct.pack("<II", zlib.crc32(content), len(content) % 2**32)


def hostile_gzip(content: bytes, rng: np.random.Generator) -> bytes:
    """The content packed in a hostile way; it may still be readable."""
    return _WAYS[rng.integers(len(_WAYS))](content, rng)


def _text(rng: np.random.Generator) -> bytes | None:
    return b"A" * int(rng.choice(_SIZES)) if rng.random() < 0.6 else None


def _fields(content: bytes, rng: np.random.Generator) -> bytes:
    extra = bytes(int(rng.integers(2**16))) if rng.random() < 0.3 else None
    return member(content, name=_text(rng), comment=_text(rng), extra=extra)


def _flags(content: bytes, rng: np.random.Generator) -> bytes:
    return member(content, name=_text(rng), flags=int(rng.integers(256)))


def _members(content: bytes, rng: np.random.Generator) -> bytes:
    at = int(rng.integers(len(content)))
    return member(content[:at], name=_text(rng)) + member(content[at:], name=_text(rng), comment=_text(rng))


def _cut(content: bytes, rng: np.random.Generator) -> bytes:
    whole = _fields(content, rng)
    return whole[: rng.integers(2, len(whole))]


def _tail(content: bytes, rng: np.random.Generator) -> bytes:
    return _fields(content, rng) + rng.bytes(int(rng.integers(1, 64)))


def _flips(content: bytes, rng: np.random.Generator) -> bytes:
    whole = bytearray(member(content))
    for _ in range(rng.integers(1, 6)):
        whole[rng.integers(2, len(whole))] ^= 1 << int(rng.integers(8))
    return bytes(whole)


_WAYS: tuple[Callable[[bytes, np.random.Generator], bytes], ...] = (_fields, _flags, _members, _cut, _tail, _flips)
