"""A batch of 200 small cases, 10 of them broken in ten ways: what is written, how much memory it takes, its page."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from browser_tab import Tab
from playwright.sync_api import expect

from htcnns.files.nifti import read_label_map, read_volume, write_case_file

pytestmark = pytest.mark.slow

N, EARLY = 200, 20
SEQUENCES = ("t1n", "t1c", "t2w", "t2f")
Break = Callable[[Path, str], object]


def name_of(number: int) -> str:
    return f"BraTS-GLI-{number:05d}-000"


def scan(folder: Path, case: str, sequence: str) -> Path:
    return folder / f"{case}-{sequence}.nii.gz"


def cut(folder: Path, case: str) -> None:
    path = scan(folder, case, "t2w")
    path.write_bytes(path.read_bytes()[:5000])


def constant(folder: Path, case: str) -> None:
    volume = read_volume(scan(folder, case, "t1n"))
    write_case_file(scan(folder, case, "t1n"), np.zeros_like(volume.array), volume.affine)


def shifted(folder: Path, case: str) -> None:
    volume = read_volume(scan(folder, case, "t2f"))
    write_case_file(scan(folder, case, "t2f"), volume.array, volume.affine + 9 * np.eye(4, k=3))


def not_a_number(folder: Path, case: str) -> None:
    volume = read_volume(scan(folder, case, "t1c"))
    volume.array[10, 10, 10] = np.nan
    write_case_file(scan(folder, case, "t1c"), volume.array, volume.affine)


def small(folder: Path, case: str) -> None:
    for sequence in SEQUENCES:
        volume = read_volume(scan(folder, case, sequence))
        write_case_file(scan(folder, case, sequence), volume.array[10:20, 10:20, 10:20], volume.affine)


BROKEN: dict[int, Break] = {
    3: cut,
    25: constant,
    46: shifted,
    67: not_a_number,
    88: small,
    109: lambda folder, case: scan(folder, case, "t1c").unlink(),
    130: lambda folder, case: scan(folder, case, "t2f").write_bytes(b""),
    151: lambda folder, case: scan(folder, case, "t1n").write_bytes(b"\x1f\x8b nothing"),
    172: lambda folder, case: scan(folder, case, "t2w").write_bytes(b"no gzip at all"),
    193: lambda folder, case: shutil.copy(scan(folder, case, "t1c"), folder / f"{case}-t1c.nii"),
}


@dataclass(frozen=True)
class Batch:
    """What a run over all cases left: its exit code, what it printed, and the folder with masks and reports."""

    code: int
    lines: list[str]
    folder: Path


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory, make_case: Callable[..., Path], tiny_weights: Path) -> Batch:
    """The run, in a process of its own, whose memory nothing else has grown."""
    folder = tmp_path_factory.mktemp("batch")
    for number in range(N):
        case = name_of(number)
        made = make_case(folder / "in", case, seed=number % 4)
        BROKEN.get(number, left_whole)(made, case)
    command = [sys.executable, "-m", "htcnns", "segment", "in", "out", "--report", "reports", "--weights", tiny_weights]
    flags = ["--device", "cpu", "--on-unclear", "fail"]
    done = subprocess.run([*command, *flags], cwd=folder, capture_output=True, text=True, check=False)
    return Batch(done.returncode, done.stdout.splitlines(), folder)


def left_whole(_folder: Path, _case: str) -> None:
    """A case that is left whole."""


def test_190_masks_and_10_sentences(batch: Batch) -> None:
    broken = [name_of(number) for number in BROKEN]
    sentences = [line for line in batch.lines if re.match(r"\[\d+/200\] FAILED ", line)]
    assert batch.code == 7
    assert sorted(sentence.split()[2].rstrip(":") for sentence in sentences) == broken
    assert all(sentence.endswith(".") for sentence in sentences)  # it ends with what to do
    masks = {path.name for path in (batch.folder / "out").iterdir()}
    assert masks == {f"{name_of(number)}.nii.gz" for number in range(N) if number not in BROKEN}
    assert batch.lines[-3:-1] == ["190 done, 10 failed", f"failed: {', '.join(broken)}"]


def test_the_list_has_every_mask_and_every_failure(batch: Batch) -> None:
    record = json.loads((batch.folder / "reports" / "cohort.json").read_text())
    assert record["n_by_state"] == {"done": 190, "failed": 10}
    for each in record["cases"][::20]:
        mask = read_label_map(batch.folder / "out" / f"{each['case']}.nii.gz").array
        assert sum(each["label_voxels"].values()) == np.count_nonzero(mask)


def test_memory_does_not_grow_with_the_cases(batch: Batch) -> None:
    early, late = (
        json.loads((batch.folder / "reports" / f"{name_of(number)}.json").read_text())["peak_memory_mib"]["process"]
        for number in (EARLY - 1, N - 1)
    )
    assert early <= late <= 1.05 * early


def test_its_page_loads_sorts_and_filters(batch: Batch, tab: Tab) -> None:
    page = tab.page
    page.goto((batch.folder / "reports" / "index.html").as_uri())
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    assert metrics["ProcessTime"] < 2.0  # CPU seconds of the page's process: the wall clock also counts other work
    assert page.locator("#failed li").count() == 5
    page.locator("#by-state").select_option(label="failed (10)")
    expect(page.locator("#count")).to_have_text("10 of 200 cases")
    page.get_by_role("button", name="Clear filters").click()
    page.locator("#headings button").first.click()
    expect(page.locator("#rows .name").first).to_have_text(name_of(0))
    page.locator("#rows button").first.click()
    assert page.locator("#case img").evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
