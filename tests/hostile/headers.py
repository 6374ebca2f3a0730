"""Hostile NIfTI headers: a good scan in both byte orders and both versions, with parts of its header overwritten."""

import gzip
import struct
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

VERSIONS = {1: nib.Nifti1Image, 2: nib.Nifti2Image}
_SIZES = {1: 352, 2: 544}  # bytes before the first voxel
_INTEGERS = (0, 1, 2, 3, 4, 7, 8, -1, 255, 256, 348, 540, 352, 1000, 32767, -32768, 2**31 - 1, -(2**31))
_LONGS = (*_INTEGERS, 2**31, 2**40, 2**63 - 1, -(2**63))
_FLOATS = (0, 1, -1, 0.5, 1e-3, 1e-30, 1e-45, 1e-50, 1e3, 1e9, 3.4e38, 1e39, 1e300, float("nan"), float("inf"))


@dataclass(frozen=True)
class Base:
    """The content of a good scan, unpacked.

    Attributes:
        version: 1 or 2.
        order: "<" or ">".
    """

    content: bytes
    version: int
    order: str


def bases_of(path: Path) -> list[Base]:
    """A scan in both versions and both byte orders."""
    return [_base(path, version, order) for version in VERSIONS for order in "<>"]


def hostile_scan(bases: list[Base], rng: np.random.Generator) -> bytes:
    """The packed content of one of the scans after one to four changes to its header."""
    base = bases[rng.integers(len(bases))]
    content = bytearray(base.content)
    for _ in range(rng.integers(1, 5)):
        rng.choice([_field, _field, _unit, _noise])(content, base, rng)
    return gzip.compress(bytes(content), 1)


def _base(path: Path, version: int, order: str) -> Base:
    image = nib.load(path)
    other = VERSIONS[version](np.asarray(image.dataobj), image.affine)
    header = other.header.as_byteswapped(order)
    voxels = np.asarray(image.dataobj).astype(header.get_data_dtype())
    header.set_slope_inter(1, 0)
    header["vox_offset"] = _SIZES[version]
    return Base(header.binaryblock + bytes(4) + voxels.tobytes("F"), version, order)


def _field(content: bytearray, base: Base, rng: np.random.Generator) -> None:
    """Set a field of the header to an edge value of its type; changes `content`."""
    dtype = VERSIONS[base.version].header_class.template_dtype.newbyteorder(base.order)
    name = dtype.names[rng.integers(len(dtype.names))]
    field, offset = dtype.fields[name][:2]
    n_values = int(np.prod(field.shape, dtype=int))
    at = offset + int(rng.integers(n_values)) * field.base.itemsize
    kind = field.base.kind
    if kind == "f":
        code, value = ("f", "d")[field.base.itemsize == 8], float(rng.choice(_FLOATS)) * rng.choice((1, -1))
        with np.errstate(over="ignore"):
            packed = np.array(value).astype(f"{base.order}{code}").tobytes()
    elif kind in "iu":
        value = int(rng.choice(np.array(_LONGS if field.base.itemsize == 8 else _INTEGERS, dtype=object)))
        packed = (value % 256**field.base.itemsize).to_bytes(field.base.itemsize, ("big", "little")[base.order == "<"])
    else:
        packed = rng.bytes(field.base.itemsize)
    content[at : at + len(packed)] = packed


def _unit(content: bytearray, base: Base, rng: np.random.Generator) -> None:
    """Set a random unit of length; changes `content`."""
    if base.version == 1:
        content[123] = int(rng.integers(64))
    else:
        struct.pack_into(f"{base.order}i", content, 500, int(rng.integers(64)))


def _noise(content: bytearray, base: Base, rng: np.random.Generator) -> None:
    """Set some bytes of the header at random; changes `content`."""
    for _ in range(rng.integers(1, 8)):
        content[rng.integers(_SIZES[base.version])] = rng.integers(256)
