"""What every test can ask for: the folder of real cases, and seeded random numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--data", type=Path, default=None, help="folder with brats/, unlabelled/ and scores/")


@pytest.fixture
def data(request: pytest.FixtureRequest) -> Path:
    """The folder of real cases; tests that ask for it are skipped when pytest was not given one."""
    folder = request.config.getoption("--data")
    if folder is None:
        pytest.skip("needs real cases: make test DATA=folder")
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20241208)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(20241208)
