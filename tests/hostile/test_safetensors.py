"""Spoiled safetensors files with a matching checksum: each is loaded, or refused in one sentence."""

import json
import random
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from htcnns.errors import WeightsError
from htcnns.files.digests import sha256_of
from htcnns.files.manifest import read_manifest
from htcnns.files.member import Member, WeightsFile
from htcnns.files.weights import load_networks

DTYPES = (
    *("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "F6_E2M3"),
    *("I64", "U8", "BOOL", "C64", "", "X"),
)
NUMBERS = (0, 1, -1, 2, 3, 2**31, 2**63, 2**64, 10**30, 1.5, None, "1", [])


@pytest.mark.slow
def test_every_spoiled_file_is_loaded_or_refused_in_one_sentence(
    tiny_weights: Path, tmp_path: Path, rounds: int, record_property: Callable[[str, object], None]
) -> None:
    member = read_manifest(tiny_weights)[0]
    failures = [fault for seed in range(rounds) if (fault := _attempt(seed, member, tmp_path / "x.safetensors"))]
    assert failures == []
    record_property("attempts", rounds)


def _attempt(seed: int, member: Member, path: Path) -> str:
    """What went wrong with the spoiled file of this seed; "" where nothing did."""
    path.write_bytes(_spoiled(random.Random(seed), member.files[0].path.read_bytes()))
    try:
        load_networks(replace(member, files=(WeightsFile(path, sha256_of(path)),)))
    except WeightsError as error:
        sentence = error.sentence()
        return "" if len(sentence) <= 1000 and sentence.endswith(".") else f"{seed}: {sentence}"
    except Exception as error:
        return f"{seed}: {type(error).__name__}: {error}"
    return ""


def _spoiled(rng: random.Random, whole: bytes) -> bytes:
    """The file with its length, its header, its values or its end changed."""
    (length,) = struct.unpack("<Q", whole[:8])
    header, values = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    way = rng.randrange(6)
    if way == 0:
        return struct.pack("<Q", rng.choice((0, 1, length - 1, length + 1, 2**31, 2**63, 2**64 - 1))) + whole[8:]
    if way == 1:
        return whole[: rng.randrange(len(whole))] + rng.randbytes(rng.choice((0, 7)))
    if way == 2:
        at = 8 + length + rng.randrange(len(values) - 1)
        return whole[:at] + rng.choice((b"\x00\x7c", b"\x00\xfc", b"\xff\xff", b"\x00\x00")) + whole[at + 2 :]
    if way == 3:
        at = rng.randrange(8 + length)
        return whole[:at] + rng.randbytes(1) + whole[at + 1 :]
    entry = header[rng.choice([name for name in header if name != "__metadata__"])]
    if way == 4:
        entry["dtype"] = rng.choice(DTYPES)
    else:
        field = rng.choice(("shape", "data_offsets"))
        entry[field][rng.randrange(len(entry[field]) or 1) if entry[field] else slice(None)] = (
            rng.choice(NUMBERS) if entry[field] else [rng.choice(NUMBERS)]
        )
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + values
