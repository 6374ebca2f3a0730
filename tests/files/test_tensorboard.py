"""TensorBoard events: numbers are written by name and step if it is installed, and nothing happens if it is not."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Self

import pytest

from htcnns.files.tensorboard import event_file


class Writer:
    """Stands in for torch's SummaryWriter; every one that was made is in `made`."""

    made: list[Self] = []  # noqa: RUF012 - emptied by each test

    def __init__(self, folder: str, purge_step: int) -> None:
        self.about = (folder, purge_step)
        self.numbers: list[tuple[str, float, int]] = []
        self.is_closed = False
        self.made.append(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.is_closed = True

    def add_scalar(self, name: str, number: float, step: int) -> None:
        self.numbers.append((name, number, step))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
    """The writers that are made while TensorBoard seems to be installed."""
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    Writer.made.clear()
    return Writer.made


def test_numbers_arrive_and_the_file_is_closed(tmp_path: Path, made: list[Writer]) -> None:
    with event_file(tmp_path, after=50) as write:
        write("loss", 0.5, 100)
        write("loss", 0.25, 150)
    (writer,) = made
    assert writer.about == (str(tmp_path / "tensorboard"), 51)
    assert writer.numbers == [("loss", 0.5, 100), ("loss", 0.25, 150)]
    assert writer.is_closed


def test_without_numbers_no_file_is_made(tmp_path: Path, made: list[Writer]) -> None:
    with event_file(tmp_path, after=0):
        pass
    assert made == []


def test_without_tensorboard_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # import then raises ImportError
    with event_file(tmp_path, after=0) as write:
        write("loss", 0.5, 100)
    assert list(tmp_path.iterdir()) == []
