"""DMFNet's published checkpoints return the logits of its own program, before the softmax."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from their_dmfnet import TheirDMFNet
from theirs import randomised

from htcnns.errors import WeightsError
from htcnns.files.foreign_weights.dmfnet import N_BRANCHES, WINDOW, _theirs, read
from htcnns.files.foreign_weights.kind import BY_REGION, OWN_BRAIN, UNCLEANED
from htcnns.image.member_input import Preprocessing
from htcnns.labels import GLIOMA, Label, Sequence
from htcnns.networks import outline_network
from htcnns.networks.contract import Head
from htcnns.networks.dmfnet import SIZES

pytestmark = pytest.mark.slow


def written(path: Path, weights: dict) -> Path:
    """A file as DMFNet's `train_all.py` writes it on several GPUs."""
    weights = {f"module.{name}": tensor for name, tensor in weights.items()}
    torch.save({"iter": 1000, "state_dict": weights, "optim_dict": {"state": {}}}, path)
    return path


@pytest.fixture(scope="module")
def original() -> torch.nn.Module:
    return randomised(TheirDMFNet())


def test_logits_are_those_of_the_original(tmp_path: Path, original: torch.nn.Module, read_logits: Callable) -> None:
    foreign = read(written(tmp_path / "a.pth", original.state_dict()))
    ours, expected = read_logits(foreign, original, (32, 16, 48))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
    assert expected.abs().max() > 0.1


def test_a_checkpoint_is_imported_as_a_member(tmp_path: Path, original: torch.nn.Module, imported: Callable) -> None:
    member = imported("dmfnet", written(tmp_path / "a.pth", original.state_dict()))
    assert (member.name, member.network, member.head) == ("dmfnet", "dmfnet", Head.SOFTMAX)
    assert member.trained_on["trainer"] == "DMFNet"


def test_the_weight_of_each_branch_is_put_in_its_place(tmp_path: Path, original: torch.nn.Module) -> None:
    units = [original.encoder_block2[0], original.encoder_block3[2]]
    tensors = read(written(tmp_path / "a.pth", original.state_dict())).tensors
    for unit, name in zip(units, ("downs.0.0.weights", "downs.1.2.weights"), strict=True):
        assert tensors[name].tolist() == [unit.weight1.item(), unit.weight2.item(), unit.weight3.item()]


def test_what_a_checkpoint_does_not_hold_is_as_published(tmp_path: Path, original: torch.nn.Module) -> None:
    found = read(written(tmp_path / "a.pth", original.state_dict())).description
    assert found.sequences == (Sequence.T2F, Sequence.T1C, Sequence.T1N, Sequence.T2W)
    assert (found.regions, found.head) == (GLIOMA, Head.SOFTMAX)
    assert found.outputs == (Label.BACKGROUND, Label.NCR, Label.ED, Label.ET)
    assert found.size == {"channels": [8, 16, 32, 48], "groups": 4, "norm": "batch", "mie": False, "sie": False}


def test_our_410_names_of_the_published_size_are_its_422_with_18_joined_into_6_tables_of_weights() -> None:
    outline = outline_network("dmfnet", SIZES["published"], WINDOW, n_in=4, n_out=4).state_dict()
    names = {_theirs(ours) for ours in outline}
    tables = {name for name in names if name.endswith(".weights")}
    each = {f"{name.removesuffix('s')}{n + 1}" for name in tables for n in range(N_BRANCHES)}
    assert (len(names), len(tables)) == (410, 6)
    published = names - tables | each
    assert published == set(TheirDMFNet(32, 128, 16).state_dict())
    assert len(published) == 410 + 12 == 422


def test_sequences_are_clipped_at_quantiles_and_what_differs_is_noted(
    tmp_path: Path, original: torch.nn.Module, imported: Callable
) -> None:
    member = imported("dmfnet", written(tmp_path / "a.pth", original.state_dict()))
    assert member.preprocessing == Preprocessing(clip=(0.002, 0.998))
    assert (member.mirror, member.rules) == ("", UNCLEANED)
    differs = member.trained_on["differs"]
    assert {OWN_BRAIN, BY_REGION} < set(differs)
    assert "windows: here of 128 voxels, in the published code the whole scan at once" in differs
    assert (
        differs[-1]
        == "sequences: assumed to be t2f, t1c, t1n, t2w, as in its published code; the checkpoint does not say so"
    )


@pytest.mark.parametrize(
    ("name", "tensor", "says"),
    [
        ("seg.weight", None, r"missing seg\.weight; found 1 tensors missing and 0 unexpected"),
        ("encoder_block3.1.weight2", None, r"missing encoder_block3\.1\.weight2"),
        ("decoder_block2.conv1x1x1_shortcut.bn.weight", None, r"missing decoder_block2\.conv1x1x1_shortcut\.bn\.w"),
        ("encoder_block2.0.conv3x3x3_m2.conv.weight", None, r"missing encoder_block2\.0\.conv3x3x3_m2\.conv\.weight"),
        ("encoder_block2.0.space.weight", torch.ones(1), r"unexpected encoder_block2\.0\.space\.weight"),
        ("seg.weight", torch.ones(3, 8, 1, 1, 1), r"seg\.weight and 0 other .*found \(3, 8, 1, 1, 1\)"),
        ("encoder_block2.0.weight1", torch.ones(2), r"encoder_block2\.0\.weights and .*wrong shape; found \(4,\), exp"),
        (
            "encoder_block2.0.weight1",
            torch.ones(1, 1),
            r"encoder_block2\.0\.weight1 has the wrong shape; found \(1, 1\)",
        ),
    ],
    ids=["missing", "branch", "shortcut", "width", "unexpected", "shape", "long weight", "deep weight"],
)
def test_tensors_that_do_not_fit_are_named(
    tmp_path: Path, original: torch.nn.Module, name: str, tensor: torch.Tensor | None, says: str
) -> None:
    weights = {key: each for key, each in {**original.state_dict(), name: tensor}.items() if each is not None}
    with pytest.raises(WeightsError, match=f"a.pth: {says}"):
        read(written(tmp_path / "a.pth", weights))
