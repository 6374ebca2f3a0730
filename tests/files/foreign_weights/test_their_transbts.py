"""TransBTS's published checkpoints return the logits of its own program without that program's mistakes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from their_transbts import EDGE, EMBEDDING, TheirTransBTS
from theirs import randomised

from htcnns.errors import WeightsError
from htcnns.files.foreign_weights.kind import BY_REGION, OWN_BRAIN
from htcnns.files.foreign_weights.transbts import _UNUSED, RULES, _theirs, read
from htcnns.files.member import Member
from htcnns.files.weights import load_networks
from htcnns.image.postprocess import PostprocessRules, postprocess
from htcnns.labels import GLIOMA, Label, Sequence
from htcnns.networks import outline_network
from htcnns.networks.contract import Head
from htcnns.networks.transbts import SIZES

pytestmark = pytest.mark.slow

POSITIONS = "position_encoding.position_embeddings"


def written(path: Path, network: torch.nn.Module, **changes: torch.Tensor) -> Path:
    """A file as TransBTS's `train.py` writes it on several GPUs."""
    weights = {f"module.{name}": tensor for name, tensor in (network.state_dict() | changes).items()}
    torch.save({"epoch": 1000, "state_dict": weights, "optim_dict": {"state": {}}}, path)
    return path


@pytest.fixture
def original() -> torch.nn.Module:
    return randomised(TheirTransBTS())


def test_logits_are_those_of_the_original(
    tmp_path: Path, original: torch.nn.Module, imported: Callable[..., Member], logits: Callable
) -> None:
    member = imported("transbts", written(tmp_path / "model_epoch_last.pth", original))
    ours, expected = logits(member, original)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
    assert expected.abs().max() > 0.1


def test_position_embeddings_change_the_logits(
    tmp_path: Path, original: torch.nn.Module, imported: Callable, logits: Callable
) -> None:
    member = imported("transbts", written(tmp_path / "a.pth", original))
    with torch.no_grad():
        original.position_encoding.position_embeddings.add_(1)
    ours, other = logits(member, original)
    assert (ours - other).abs().max() > 1e-2


def test_what_a_checkpoint_does_not_hold_is_as_published(tmp_path: Path, original: torch.nn.Module) -> None:
    found = read(written(tmp_path / "a.pth", original)).description
    assert found.sequences == (Sequence.T2F, Sequence.T1C, Sequence.T1N, Sequence.T2W)
    assert (found.regions, found.head) == (GLIOMA, Head.SOFTMAX)
    assert found.outputs == (Label.BACKGROUND, Label.NCR, Label.ED, Label.ET)
    assert found.window == (8 * EDGE,) * 3
    assert {key: found.size[key] for key in ("heads", "layers", "embedding", "norm")} == {
        "heads": 8,
        "layers": 2,
        "embedding": EMBEDDING,
        "norm": "batch",
    }


def test_nothing_is_random_at_inference(tmp_path: Path, original: torch.nn.Module, imported: Callable) -> None:
    (network,) = load_networks(imported("transbts", written(tmp_path / "a.pth", original)))
    x = torch.ones(1, 4, 16, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(network(x), network(x), rtol=0, atol=0)


def test_its_unused_layers_are_optional(tmp_path: Path, original: torch.nn.Module) -> None:
    expected = read(written(tmp_path / "a.pth", original)).tensors
    del original.linear_encoding, original.pre_head_ln
    torch.testing.assert_close(read(written(tmp_path / "b.pth", original)).tensors, expected, rtol=0, atol=0)


def test_positions_that_form_no_cube_are_refused(tmp_path: Path, original: torch.nn.Module) -> None:
    path = written(tmp_path / "a.pth", original, **{POSITIONS: torch.zeros(1, 9, EMBEDDING)})
    with pytest.raises(WeightsError, match=f"{POSITIONS} does not describe a cube; found 9 tokens"):
        read(path)


@pytest.mark.parametrize(
    ("removed", "says"),
    [
        ("conv_x.weight", r"missing conv_x\.weight; found 1 tensors missing and 0 unexpected"),
        ("transformer.net.3.fn.fn.net.3.bias", r"missing transformer\.net\.3\.fn\.fn\.net\.3\.bias"),
        ("Unet.EnDown2.conv.weight", r"missing Unet\.EnDown2\.conv\.weight"),
        (POSITIONS, f"missing {POSITIONS}"),
    ],
    ids=["embedding", "feed-forward", "width", "positions"],
)
def test_a_missing_tensor_is_reported_by_its_published_name(
    tmp_path: Path, original: torch.nn.Module, removed: str, says: str
) -> None:
    weights = {name: tensor for name, tensor in original.state_dict().items() if name != removed}
    torch.save({"state_dict": weights}, tmp_path / "a.pth")
    with pytest.raises(WeightsError, match=f"a.pth: {says}"):
        read(tmp_path / "a.pth")


def test_our_published_size_has_all_226_published_names_but_4_that_are_unused() -> None:
    names = {
        _theirs(ours)
        for ours in outline_network("transbts", SIZES["published"], (128,) * 3, n_in=4, n_out=4).state_dict()
    }
    unused = {name for name in TheirTransBTS().state_dict() if _UNUSED.match(name)}
    assert (len(names), len(unused), len(names | unused)) == (222, 4, 226)


def test_a_member_is_mirrored_and_cleaned_as_in_the_published_code(
    tmp_path: Path, original: torch.nn.Module, imported: Callable[..., Member]
) -> None:
    member = imported("transbts", written(tmp_path / "a.pth", original))
    assert member.mirror == "ijk"
    assert member.rules == PostprocessRules(et_component_voxels=0, et_total_voxels=500, et_total_mean=1.0)
    assert {OWN_BRAIN, BY_REGION} < set(member.trained_on["differs"])
    order = "sequences: assumed to be t2f, t1c, t1n, t2w, as in its published code; the checkpoint does not say so"
    assert member.trained_on["differs"][-1] == order


@pytest.mark.parametrize(("n_voxels", "becomes"), [(499, Label.NCR), (500, Label.ET)])
def test_fewer_than_500_voxels_of_et_become_ncr(n_voxels: int, becomes: Label) -> None:
    probabilities = np.zeros((3, 8, 8, 8), np.float32)
    probabilities.reshape(3, -1)[:, :n_voxels] = 0.999
    label_map, _ = postprocess(probabilities, GLIOMA, RULES)
    assert (label_map == becomes).sum() == n_voxels
