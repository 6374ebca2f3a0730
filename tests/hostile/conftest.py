"""A good case beside a hostile one, once for each round."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from arena import BAD, GOOD, QUICK, Arena

from htcnns.doors.cli import main


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes a seed runs once for each of the rounds."""
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", range(metafunc.config.getoption("--rounds")))


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory, make_case: Callable[..., Path]) -> Path:
    """A folder of two good cases, which no test changes."""
    folder = tmp_path_factory.mktemp("cases")
    make_case(folder, GOOD)
    make_case(folder, BAD, seed=2)
    return folder


@pytest.fixture(scope="session")
def good_mask(tmp_path_factory: pytest.TempPathFactory, cases: Path, tiny_weights: Path) -> bytes:
    """The good case's mask when it is alone."""
    output = tmp_path_factory.mktemp("alone")
    assert main(["segment", f"{cases}/{GOOD}", f"{output}", "--weights", str(tiny_weights), *QUICK]) == 0
    return (output / f"{GOOD}.nii.gz").read_bytes()


@pytest.fixture
def arena(
    tmp_path: Path, cases: Path, good_mask: bytes, tiny_weights: Path, htcnns: Callable[..., object]
) -> Iterator[Arena]:
    """An arena of its own for each round, gone afterwards."""
    shutil.copytree(cases, tmp_path / "in")

    def run(*arguments: object) -> object:
        places = (tmp_path / "in", tmp_path / "out", "--weights", tiny_weights)
        return htcnns("segment", *places, *QUICK, "--on-failure", "empty", *arguments)

    yield Arena(tmp_path, good_mask, run)
    shutil.rmtree(tmp_path)
