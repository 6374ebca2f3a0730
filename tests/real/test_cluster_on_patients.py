"""Workers on Ray write the same masks as one process, on real cases with the shipped weights."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from htcnns.files.cases import find_cases

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray: pip install 'htcnns[ray]'"),
]


def test_workers_on_ray_write_the_same_bytes_as_one_process(tmp_path: Path, data: Path) -> None:
    scans = tmp_path / "in"
    scans.mkdir()
    for case in find_cases(data / "brats")[:2]:
        (scans / case.name).symlink_to(case.folder.resolve())
    plain = _masks(scans, tmp_path / "plain")
    assert len(plain) == 2
    assert _masks(scans, tmp_path / "ray", "--engine", "ray", "--worker-cpus", "1") == plain


def _masks(scans: Path, output: Path, *flags: str) -> dict[str, bytes]:
    command = [sys.executable, "-m", "htcnns", "segment", str(scans), str(output), *flags]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    return {path.name: path.read_bytes() for path in output.iterdir()}
