"""Weights that ask for a lot are read or refused in a sentence within 5 s and 1 GiB; no single limit ensures that."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from htcnns.files.digests import sha256_of
from htcnns.files.manifest import MANIFEST
from htcnns.networks.limits import LARGEST_WIDTH, MOST_FILE_BYTES, MOST_HEADER_BYTES, MOST_MANIFEST_BYTES

pytestmark = pytest.mark.slow

MOST_S, MOST_GIB = 5.0, 1.0
_VERIFY = """
import sys, time
from htcnns.doors.cli import main
import htcnns.files.weights
began = time.process_time()
code = main(["weights", "verify", "--weights", sys.argv[1]])
seconds = time.process_time() - began
peak_kib = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])  # ru_maxrss is also the parent's
print(code, seconds, peak_kib / 2**20)
"""


def _change_manifest(folder: Path, change: Callable[[dict], object]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def _size(entry: int, **size: object) -> Callable[[Path], None]:
    return lambda folder: _change_manifest(folder, lambda manifest: manifest["members"][entry]["size"].update(size))


def _file_of(n_bytes: int) -> Callable[[Path], None]:
    return lambda folder: os.truncate(folder / "unet.safetensors", n_bytes)


def _tensor_of(name: str, n_bytes: int) -> Callable[[Path], None]:
    """One tensor that fills a weights file up to so many bytes, with a matching checksum."""

    def change(folder: Path) -> None:
        path = folder / "unet.safetensors"
        n_values = (n_bytes - 256) // 2
        header = json.dumps({name: {"dtype": "F16", "shape": [n_values], "data_offsets": [0, 2 * n_values]}}).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        os.truncate(path, 8 + len(header) + 2 * n_values)
        _change_manifest(folder, lambda manifest: manifest["members"][0]["files"][0].update(sha256=sha256_of(path)))

    return change


def _filled_with(text: str, *, n: int = 0, more: int = 0) -> Callable[[Path], None]:
    """A manifest with `n` of these values, or with as many as its allowed bytes hold, and `more`."""

    def change(folder: Path) -> None:
        whole = (folder / MANIFEST).read_text()
        times = n or (MOST_MANIFEST_BYTES - len(whole) - 40) // len(text) + more
        (folder / MANIFEST).write_text(whole.replace("{", '{"filling": [' + (text * times)[:-1] + "],", 1))

    return change


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_file_of(MOST_FILE_BYTES + 1), "is too large"),
        (_file_of(MOST_FILE_BYTES), "the file is damaged or is the wrong one"),
        (_tensor_of("strange", MOST_FILE_BYTES), "16 tensors missing and 1 unexpected"),
        (_tensor_of("x" * (MOST_HEADER_BYTES + 1), 2 * MOST_HEADER_BYTES), "has too long a header"),
        (_filled_with("1,", more=99), "is too large"),
        (_filled_with("1,"), "million values"),
        (_filled_with("[],"), "million values"),
        (_filled_with('{"a":1},'), "million values"),
        (_filled_with("[],", n=1_000_000), None),
        (_filled_with('"aaaaaaaaaa",'), None),
        (_size(1, heads=LARGEST_WIDTH, embedding=LARGEST_WIDTH, hidden=LARGEST_WIDTH, layers=64), ""),
        (_size(2, heads=[LARGEST_WIDTH], hidden=[LARGEST_WIDTH]), ""),
        (_size(0, channels=[LARGEST_WIDTH] * 8, n_convs=[64] * 8), ""),
    ],
    ids=[
        *(
            "file",
            "full file",
            "full file of the right checksum",
            "long header",
            "manifest",
            "numbers",
            "lists",
            "objects",
            "fewer lists",
            "texts",
        ),
        *("wide transformer", "wide axial", "wide U-Net"),
    ],
)
def test_demanding_weights_take_little_time_and_memory(
    tmp_path: Path, tiny_weights: Path, spoil: Callable[[Path], None], says: str | None
) -> None:
    folder = Path(shutil.copytree(tiny_weights, tmp_path / "weights"))
    spoil(folder)
    done = subprocess.run([sys.executable, "-c", _VERIFY, folder], capture_output=True, text=True, check=True)
    code, seconds, gib = map(float, done.stdout.splitlines()[-1].split())
    assert code == (0 if says is None else 4)
    assert re.fullmatch("" if says is None else rf"htcnns: .*{says}.*[.?]\n", done.stderr)
    assert seconds < MOST_S
    assert gib < MOST_GIB
