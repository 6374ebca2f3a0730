"""Checkpoints and packed cases: they come back as they were, and no half of one is ever seen."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch

from htcnns.errors import InputError, OutputError
from htcnns.files.checkpoints import Checkpoint, read_checkpoint, read_pack, write_checkpoint, write_pack

RECIPE = {"n_steps": 3, "learning_rate": 1e-3, "patches": ((0.0, 16), (0.5, 32)), "cases": ["a", "b"]}


@pytest.fixture
def checkpoint() -> Checkpoint:
    """Of a network with one layer after two steps."""
    network = torch.nn.Conv3d(1, 2, 3)
    optimizer = torch.optim.AdamW(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return Checkpoint(2, RECIPE, network.state_dict(), optimizer.state_dict())


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write_checkpoint(tmp_path / "fit.pt", checkpoint)
    back = read_checkpoint(tmp_path / "fit.pt")
    assert (back.step, back.recipe) == (2, RECIPE)
    torch.testing.assert_close(dict(back.network), dict(checkpoint.network), rtol=0, atol=0)
    torch.testing.assert_close(back.optimizer["state"], checkpoint.optimizer["state"], rtol=0, atol=0)
    assert back.optimizer["param_groups"] == checkpoint.optimizer["param_groups"]


def test_channels_last_stays_channels_last(tmp_path: Path) -> None:
    weight = torch.randn(2, 3, 4, 4, 4).contiguous(memory_format=torch.channels_last_3d)
    write_checkpoint(tmp_path / "fit.pt", Checkpoint(1, {}, {"weight": weight}, {}))
    assert read_checkpoint(tmp_path / "fit.pt").network["weight"].stride() == weight.stride()


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert read_checkpoint(tmp_path / "fit.pt") is None


def test_folders_are_made_and_nothing_else_is_left(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write_checkpoint(tmp_path / "new" / "folder" / "fit.pt", checkpoint)
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["fit.pt"]


def test_a_later_checkpoint_replaces_the_earlier(tmp_path: Path, checkpoint: Checkpoint) -> None:
    write_checkpoint(tmp_path / "fit.pt", checkpoint)
    write_checkpoint(tmp_path / "fit.pt", Checkpoint(3, RECIPE, checkpoint.network, checkpoint.optimizer))
    assert read_checkpoint(tmp_path / "fit.pt").step == 3


def test_an_interrupted_write_leaves_the_earlier_checkpoint(
    tmp_path: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path / "fit.pt", checkpoint)

    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("htcnns.files.whole.os.fsync", no_room)
    with pytest.raises(OutputError, match="No space left on device"):
        write_checkpoint(tmp_path / "fit.pt", Checkpoint(3, {}, {}, {}))
    assert read_checkpoint(tmp_path / "fit.pt").step == 2


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path: Path) -> None:
    torch.save({"step": 1, "recipe": {}, "network": {}, "optimizer": Path("x")}, tmp_path / "fit.pt")
    with pytest.raises(InputError, match=r"no checkpoint .Weights only load failed"):
        read_checkpoint(tmp_path / "fit.pt")


def test_a_pack_comes_back_in_half_precision(tmp_path: Path, rng: np.random.Generator) -> None:
    array = rng.normal(size=(4, 5, 6, 7)).astype(np.float32)
    label_map = rng.integers(0, 4, (5, 6, 7), np.uint8)
    write_pack(tmp_path / "packs" / "BraTS-GLI-00000-000.npz", array, label_map)
    back, labels_back = read_pack(tmp_path / "packs" / "BraTS-GLI-00000-000.npz")
    np.testing.assert_array_equal(back, array.astype(np.float16), strict=True)
    np.testing.assert_array_equal(labels_back, label_map, strict=True)
    assert [path.name for path in (tmp_path / "packs").iterdir()] == ["BraTS-GLI-00000-000.npz"]


def test_case_names_with_a_dot_do_not_share_a_pack(tmp_path: Path) -> None:
    label_map = np.zeros((1, 1, 1), np.uint8)
    write_pack(tmp_path / "case.1.npz", np.full((4, 1, 1, 1), 1), label_map)
    write_pack(tmp_path / "case.2.npz", np.full((4, 1, 1, 1), 2), label_map)
    assert read_pack(tmp_path / "case.1.npz")[0].max() == 1
    assert read_pack(tmp_path / "case.2.npz")[0].max() == 2


def test_a_pack_with_code_in_it_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "pack.npz", array=np.array([Path("x")], dtype=object), label_map=np.zeros(1))
    with pytest.raises(ValueError, match="allow_pickle"):
        read_pack(tmp_path / "pack.npz")


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "unet-all.pt"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"unet-all\.pt: no checkpoint"):
        read_checkpoint(path)
