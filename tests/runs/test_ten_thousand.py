"""Ten thousand finished cases, which are links to the files of one, are listed, skipped and reported."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

N = 10_000
FIRST = "BraTS-GLI-99999-000"


def copies(folder: Path) -> None:
    """Make N cases of the finished one: links to its scans, mask and picture, and a report in each one's name."""
    record = (folder / "reports" / f"{FIRST}.json").read_text()
    scans = sorted((folder / "in" / FIRST).iterdir())
    for number in range(N - 1):
        case = f"BraTS-GLI-{number:05d}-000"
        (folder / "in" / case).mkdir()
        for scan in scans:
            (folder / "in" / case / scan.name.replace(FIRST, case)).symlink_to(scan)
        (folder / "out" / f"{case}.nii.gz").hardlink_to(folder / "out" / f"{FIRST}.nii.gz")
        (folder / "reports" / f"{case}.png").hardlink_to(folder / "reports" / f"{FIRST}.png")
        (folder / "reports" / f"{case}.json").write_text(record.replace(FIRST, case))


def test_ten_thousand_finished_cases_are_listed_skipped_and_reported_within_a_minute(
    tmp_path: Path, make_case: Callable[..., Path], tiny_weights: Path
) -> None:
    """CPU seconds, which other work on the machine does not change; the run waits for nothing but the disk."""
    make_case(tmp_path / "in", FIRST)
    flags = ["--report", "reports", "--weights", tiny_weights, "--device", "cpu"]
    command = [sys.executable, "-m", "htcnns", "segment", "in", "out", *flags]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
    copies(tmp_path)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert f"{N} kept" in done.stdout.splitlines()
    assert json.loads((tmp_path / "reports" / "cohort.json").read_text())["n_cases"] == N
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 60
