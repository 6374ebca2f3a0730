"""Checkpoints and broken batches are read back and never half written, and the lock lets one process train a fit."""

import errno
import multiprocessing
import os
import signal
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import torch

from htcnns.errors import InputError, OutputError
from htcnns.files.checkpoints import (
    Checkpoint,
    locked,
    read_checkpoint,
    write_checkpoint,
    write_tensors,
)

MADE_WITH = {"recipe": {"batch": 3, "average": 1e-3, "patches": [[0.0, [16, 16, 16]]]}, "cases": {"a": "0f"}}


@pytest.fixture
def checkpoint() -> Checkpoint:
    """Checkpoint at step 2 of a network with one layer."""
    network = torch.nn.Conv3d(1, 2, 3)
    optimizer = torch.optim.AdamW(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return Checkpoint(
        step=2,
        made_with=MADE_WITH,
        network=network.state_dict(),
        optimizer=optimizer.state_dict(),
        scaler={},
        average={"weight": torch.ones(2)},
    )


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write_checkpoint(tmp_path / "fit.pt", checkpoint)
    back = read_checkpoint(tmp_path / "fit.pt")
    assert (back.step, back.made_with, back.scaler) == (2, MADE_WITH, {})
    torch.testing.assert_close(dict(back.network), dict(checkpoint.network), rtol=0, atol=0)
    torch.testing.assert_close(back.optimizer["state"], checkpoint.optimizer["state"], rtol=0, atol=0)
    torch.testing.assert_close(back.average, checkpoint.average, rtol=0, atol=0)
    assert back.optimizer["param_groups"] == checkpoint.optimizer["param_groups"]


def test_channels_last_stays_channels_last(tmp_path: Path, checkpoint: Checkpoint) -> None:
    weight = torch.randn(2, 3, 4, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    write_checkpoint(tmp_path / "fit.pt", replace(checkpoint, network={"weight": weight}))
    assert read_checkpoint(tmp_path / "fit.pt").network["weight"].stride() == weight.stride()


def test_an_absent_checkpoint_is_none(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path / "fit.pt") is None


def test_folders_are_made_and_nothing_else_is_left(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write_checkpoint(tmp_path / "new" / "folder" / "fit.pt", checkpoint)
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["fit.pt"]


def test_a_later_checkpoint_replaces_the_earlier(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write_checkpoint(tmp_path / "fit.pt", checkpoint)
    write_checkpoint(tmp_path / "fit.pt", replace(checkpoint, step=3))
    assert read_checkpoint(tmp_path / "fit.pt").step == 3


def test_an_interrupted_write_leaves_the_earlier_checkpoint(
    tmp_path: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path / "fit.pt", checkpoint)

    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("htcnns.files.atomic.os.fsync", no_room)
    with pytest.raises(OutputError, match="No space left on device"):
        write_checkpoint(tmp_path / "fit.pt", replace(checkpoint, step=3))
    assert read_checkpoint(tmp_path / "fit.pt").step == 2


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path: Path) -> None:
    torch.save({"step": 1, "made_with": Path("x")}, tmp_path / "fit.pt")
    with pytest.raises(InputError, match=r"is not a checkpoint .Weights only load failed"):
        read_checkpoint(tmp_path / "fit.pt")


@pytest.mark.parametrize("content", [{"step": 1}, {"step": 1, "recipe": {}}], ids=["short", "of_an_older_version"])
def test_a_checkpoint_with_other_parts_is_refused(tmp_path: Path, content: dict) -> None:
    torch.save(content, tmp_path / "fit.pt")
    with pytest.raises(InputError, match=r"fit\.pt: is not a checkpoint .*Delete it; the fit then starts again"):
        read_checkpoint(tmp_path / "fit.pt")


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "unet-all.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"unet-all\.pt: is not a checkpoint"):
        read_checkpoint(path)


def test_a_broken_batch_can_be_read_back(tmp_path: Path) -> None:
    write_tensors(tmp_path / "batch.pt", {"x": torch.ones(2), "names": ["a"]})
    back = torch.load(tmp_path / "batch.pt", weights_only=True)
    assert back["x"].tolist() == [1, 1]
    assert back["names"] == ["a"]


def test_a_lock_that_is_held_is_refused_and_one_that_was_released_is_not(tmp_path: Path) -> None:
    path = tmp_path / "fit" / "lock"
    message = r"lock: another process is training this fit\. Wait for it, or give another work folder"
    with locked(path), pytest.raises(OutputError, match=message), locked(path):
        pytest.fail("held twice")
    assert list(path.parent.iterdir()) == []
    with locked(path):
        assert path.exists()


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    (tmp_path / "unet").write_text("mine")
    with pytest.raises(OutputError, match="unet: cannot be written"), locked(tmp_path / "unet" / "lock"):
        pass
    with pytest.raises(OutputError, match="unet: cannot be written"):
        write_checkpoint(tmp_path / "unet" / "checkpoint.pt", checkpoint)


def test_a_lock_is_released_when_its_holder_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock"):
        1 / 0  # noqa: B018
    with locked(tmp_path / "lock"):
        pass


def hold(path: Path, has: Event) -> None:
    with locked(path):
        has.set()
        signal.pause()


@pytest.mark.slow
def test_the_lock_of_a_killed_process_ends_with_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    has = context.Event()
    holder = context.Process(target=hold, args=(tmp_path / "lock", has))
    holder.start()
    assert has.wait(60)
    with pytest.raises(OutputError, match="another process is training this fit"), locked(tmp_path / "lock"):
        pytest.fail("held twice")
    os.kill(holder.pid, signal.SIGKILL)
    holder.join()
    with locked(tmp_path / "lock"):
        pass
    assert not (tmp_path / "lock").exists()
