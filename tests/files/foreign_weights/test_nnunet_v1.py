"""nnU-Net v1's networks, including KAIST's, return the original's logits, and kinds are told apart."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from theirs import V1UNet, itk_logits, randomised

from htcnns.errors import WeightsError
from htcnns.files.foreign_weights import KINDS
from htcnns.files.member import Member
from htcnns.labels import GLIOMA, SEQUENCES, Region
from htcnns.networks.contract import Head

pytestmark = pytest.mark.slow

SMALL = (16, 24, 32)  # window for the tests, for which theirs is too large


def written(path: Path, network: torch.nn.Module) -> Path:
    """A checkpoint with the contents of nnU-Net v1's."""
    content = {
        "epoch": 1000,
        "state_dict": network.state_dict(),
        "optimizer_state_dict": None,
        "lr_scheduler_state_dict": None,
        "plot_stuff": ([0.5], [0.25], [], [0.75]),
        "best_stuff": (0.5, 0.25, 0.75),
    }
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("kind", "norm", "channels", "scale"),
    [
        ("kaist-bl", "batch", (4, 8, 8), 1),
        ("nnunet-v1", "batch", (4, 8, 8), 1),
        ("nnunet-v1", "instance", (4, 8, 8), 1),
        ("kaist-bl-l-gn", "group", (64, 64, 64), 2),
    ],
)
def test_logits_are_those_of_the_original(
    tmp_path: Path,
    imported: Callable[..., Member],
    logits: Callable,
    kind: str,
    norm: str,
    channels: tuple[int, ...],
    scale: int,
) -> None:
    original = randomised(V1UNet(channels, norm=norm, scale=scale))
    member = imported(kind, written(tmp_path / "model_final_checkpoint.model", original))
    object.__setattr__(member, "window", SMALL)
    ours, expected = logits(member, partial(itk_logits, original))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
    assert expected.abs().max() > 0.1


def test_what_a_checkpoint_does_not_hold_is_as_published(tmp_path: Path, imported: Callable[..., Member]) -> None:
    member = imported("kaist-bl", written(tmp_path / "a.model", randomised(V1UNet())))
    assert (member.sequences, member.window) == (SEQUENCES, (128, 128, 128))
    assert (member.regions, member.head) == (GLIOMA, Head.SIGMOID)
    assert member.outputs == (Region.WT, Region.TC, Region.ET)
    assert (member.rules.et_total_voxels, member.mirror) == (200, "ijk")
    assert member.size == {"channels": [4, 8, 8], "n_convs": [2, 2, 2], "norm": "batch"}


def test_layers_without_biases_get_biases_of_zero(tmp_path: Path) -> None:
    tensors = KINDS["kaist-bl"].read(written(tmp_path / "a.model", randomised(V1UNet()))).tensors
    biases = [name for name in tensors if name.endswith("bias") and ("transp" in name or "seg" in name)]
    assert len(biases) == 4
    assert not any(tensors[name].any() for name in biases)


@pytest.mark.parametrize(
    ("kind", "network", "says"),
    [
        ("kaist-bl", V1UNet(norm="instance"), r"missing .*instnorm\.num_batches_tracked; found 30 tensors missing"),
        (
            "kaist-bl-l-gn",
            V1UNet((64, 64, 64), norm="batch", scale=2),
            "wrong normalisation; found batch, expected gr",
        ),
        ("kaist-bl", V1UNet((64, 64, 64), norm="batch", scale=2), "tu.1.weight and .* have the wrong shape"),
        ("kaist-bl-l-gn", V1UNet((64, 64, 64), norm="group"), "tu.1.weight and .* have the wrong shape"),
    ],
    ids=["instance for batch", "batch for group", "narrow", "not narrow"],
)
def test_a_network_of_another_kind_is_refused(tmp_path: Path, kind: str, network: torch.nn.Module, says: str) -> None:
    with pytest.raises(WeightsError, match=f"a.model: {says}"):
        KINDS[kind].read(written(tmp_path / "a.model", network))


def test_an_attention_network_of_kaist_is_refused_by_its_tensors(tmp_path: Path) -> None:
    network = V1UNet()
    network.axial_embedding = torch.nn.ModuleList([torch.nn.Conv3d(1, 1, 1)])
    with pytest.raises(WeightsError, match=r"unexpected axial_embedding\.0\.bias; found 0 tensors missing and 2 unexp"):
        KINDS["kaist-bl"].read(written(tmp_path / "a.model", network))


def test_edges_that_do_not_double_are_refused(tmp_path: Path) -> None:
    network = V1UNet()
    network.tu[1] = torch.nn.ConvTranspose3d(8, 4, (2, 2, 1), (2, 2, 1), bias=False)
    with pytest.raises(
        WeightsError, match=r"a network that htcnns cannot build; found 3 resolutions, edges that grow by .*1"
    ):
        KINDS["nnunet-v1"].read(written(tmp_path / "a.model", network))


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match="a network that htcnns cannot build; found 0 resolutions, edges that grow by noth"
    ):
        KINDS["nnunet-v1"].read(written(tmp_path / "a.model", torch.nn.Linear(1, 1)))
