"""A good case beside a hostile one, for each seed; how often that was tried is printed at the end.

Heads and network are as small as can be, so that a round takes a tenth of a second.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from arena import BAD, GOOD, QUICK, Arena
from typer.main import get_command

from htcnns.doors.cli import main
from htcnns.files.manifest import read_manifest, write_manifest
from htcnns.files.member import Member, WeightsFile
from htcnns.files.nifti import read_label_map
from htcnns.files.weights import load_networks, save_weights
from htcnns.networks import build_network
from htcnns.networks.contract import Network

SEEDS_AN_ITEM = 25  # one test item per seed would cost more time in pytest than the round itself
SHAPE = (32, 16, 16)  # of the scans; no head is shorter than 30 mm
SIZE = {"channels": (1, 1), "n_convs": (1, 1)}  # of the network
ATTEMPTS = "attempts"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes seeds runs once for each block of them."""
    if "seeds" in metafunc.fixturenames:
        n = metafunc.config.getoption("--rounds")
        blocks = [range(first, min(first + SEEDS_AN_ITEM, n)) for first in range(0, n, SEEDS_AN_ITEM)]
        metafunc.parametrize("seeds", blocks, ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many attempts of each kind passed."""
    counts: dict[str, int] = {}
    for report in terminalreporter.getreports("passed"):
        attempts = dict(report.user_properties).get(ATTEMPTS, 0) if report.when == "call" else 0
        name = report.nodeid.rpartition("/")[2].partition("[")[0]
        counts[name] = counts.get(name, 0) + attempts
    for name, n in counts.items():
        if n:
            terminalreporter.write_line(f"{n} attempts: {name}")


@pytest.fixture(scope="module", autouse=True)
def read_and_built_once() -> Iterator[None]:
    """Read weights and build the command line's parser once: they are not hostile here and take most of a round.

    Undone after each module, as tests in other folders spoil weights and must read them.
    """
    read: dict[tuple[str, ...], list[Network]] = {}

    def load_once(member: Member) -> list[Network]:
        key = tuple(file.sha256 for file in member.files)
        if key not in read:
            read[key] = load_networks(member)
        return read[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("htcnns.runs.ensemble.load_networks", load_once)
        patch.setattr("typer.main.get_command", cache(get_command))
        yield


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory, tiny_weights: Path) -> Path:
    """A weights folder with one network of one channel."""
    folder = tmp_path_factory.mktemp("small")
    member = read_manifest(tiny_weights)[0]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = build_network(member.network, SIZE)
    path = folder / "unet.safetensors"
    files = (WeightsFile(path, save_weights(path, network)),)
    write_manifest(folder, (replace(member, size=SIZE, files=files, window=(16, 16, 16)),))
    return folder


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory, make_case: Callable[..., Path]) -> Path:
    """A folder of two good cases, which no test changes."""
    folder = tmp_path_factory.mktemp("cases")
    make_case(folder, GOOD, shape=SHAPE)
    make_case(folder, BAD, shape=SHAPE, seed=2)
    return folder


@pytest.fixture(scope="session")
def good_mask(tmp_path_factory: pytest.TempPathFactory, cases: Path, small_weights: Path) -> bytes:
    """The good case's mask when it is alone; not empty, as an empty one is never kept."""
    output = tmp_path_factory.mktemp("alone")
    assert main(["segment", f"{cases}/{GOOD}", f"{output}", "--weights", str(small_weights), *QUICK]) == 0
    assert read_label_map(output / f"{GOOD}.nii.gz").array.any()
    return (output / f"{GOOD}.nii.gz").read_bytes()


@pytest.fixture
def each_seed(
    tmp_path: Path,
    cases: Path,
    good_mask: bytes,
    small_weights: Path,
    htcnns: Callable[..., object],
    seeds: range,
    record_property: Callable[[str, object], None],
) -> Callable[[Callable[[Arena, np.random.Generator], None]], None]:
    """A function that tries something hostile once for each seed, in an arena of its own that is removed afterwards."""

    def attempt(seed: int, hostile: Callable[[Arena, np.random.Generator], None]) -> None:
        folder = tmp_path / str(seed)
        shutil.copytree(cases, folder / "in")
        try:
            hostile(Arena(folder, good_mask, small_weights, htcnns), np.random.default_rng(seed))
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        shutil.rmtree(folder)

    def run(hostile: Callable[[Arena, np.random.Generator], None]) -> None:
        for seed in seeds:
            attempt(seed, hostile)
        record_property(ATTEMPTS, len(seeds))

    return run
