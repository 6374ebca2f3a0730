"""nnU-Net v2's folders return the original's logits, and everything in them that cannot be used is refused."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import theirs
import torch
from theirs import V2UNet, itk_logits, randomised, write_v2_checkpoint, write_v2_folder

from htcnns.errors import WeightsError
from htcnns.files.foreign_weights.kind import BY_REGION, OWN_BRAIN
from htcnns.files.foreign_weights.nnunet_v2 import OF_LOGITS, find, read
from htcnns.files.member import Member
from htcnns.labels import GLIOMA, SEQUENCES, Label, Region, Sequence
from htcnns.networks.contract import Head

FIRST = "encoder.stages.0.0.convs.0.conv.weight"
Spoil = Callable[[dict], object]


@pytest.fixture
def network() -> torch.nn.Module:
    return randomised(V2UNet())


@pytest.fixture
def checkpoint(tmp_path: Path, network: torch.nn.Module) -> Path:
    """Checkpoint of the only fold in a folder that can be imported."""
    write_v2_folder(tmp_path / "theirs", [network])
    return tmp_path / "theirs" / "fold_0" / "checkpoint_final.pth"


def spoilt(checkpoint: Path, network: torch.nn.Module, spoil: Spoil) -> Path:
    """The checkpoint, rewritten with spoilt tensors."""
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    spoil(weights)
    return write_v2_checkpoint(checkpoint, weights)


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("is_residual", [False, True], ids=["plain", "residual"])
def test_logits_are_those_of_the_original(
    tmp_path: Path, imported: Callable[..., Member], logits: Callable, norm: str, is_residual: bool
) -> None:
    original = randomised(V2UNet(norm=norm, is_residual=is_residual))
    of = theirs.plans(residual=is_residual, arguments={"norm_op": f"torch.nn.{norm.title()}Norm3d"})
    member = imported("nnunet-v2", write_v2_folder(tmp_path / "theirs", [original], of=of))
    assert member.network == ("res_unet" if is_residual else "unet")
    ours, expected = logits(member, partial(itk_logits, original))
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
    assert expected.abs().max() > 0.1


def test_the_axes_matter(checkpoint: Path, network: torch.nn.Module, generator: torch.Generator) -> None:
    x = torch.randn(1, 4, 16, 16, 16, generator=generator)
    with torch.no_grad():
        assert (itk_logits(network, x) - network(x)).abs().max() > 0.1
    assert read(checkpoint).description.window == (16, 24, 32)


def test_regions_are_predicted_by_a_sigmoid(checkpoint: Path) -> None:
    found = read(checkpoint).description
    assert (found.regions, found.head) == (GLIOMA, Head.SIGMOID)
    assert found.outputs == (Region.WT, Region.TC, Region.ET)
    assert found.sequences == SEQUENCES
    assert found.made_by == {
        "data set": "Dataset777_Tiny",
        "trainer": "nnUNetTrainer",
        "configuration": "3d_fullres",
    }


@pytest.mark.parametrize(
    ("theirs_is", "ours"), [((0, 1, 2), "ijk"), ((0,), "k"), ([1, 2], "ij"), (None, ""), ((), "")], ids=str
)
def test_windows_are_mirrored_over_the_axes_of_the_original(
    checkpoint: Path, network: torch.nn.Module, theirs_is: object, ours: str
) -> None:
    """Their axes are in reverse order, as in everything that SimpleITK reads."""
    write_v2_checkpoint(checkpoint, network.state_dict(), **{theirs.MIRRORED: theirs_is})
    assert read(checkpoint).description.mirror == ours


def test_labels_are_predicted_by_a_softmax(tmp_path: Path, imported: Callable[..., Member], logits: Callable) -> None:
    original = randomised(V2UNet(n_out=4))
    member = imported("nnunet-v2", write_v2_folder(tmp_path / "theirs", [original], labels=theirs.LABELS))
    assert (member.regions, member.head) == (GLIOMA, Head.SOFTMAX)
    assert member.outputs == (Label.BACKGROUND, Label.NCR, Label.ED, Label.ET)
    assert member.trained_on["differs"] == [OWN_BRAIN, OF_LOGITS, BY_REGION]
    torch.testing.assert_close(*logits(member, partial(itk_logits, original)), rtol=0, atol=1e-4)


def test_sequences_are_in_the_order_of_the_data_set(checkpoint: Path) -> None:
    other = theirs.dataset(channels={"1": "T1w", "0": "FLAIR", "3": "T2w", "2": "T1gd"})
    (checkpoint.parents[1] / "dataset.json").write_text(json.dumps(other))
    assert read(checkpoint).description.sequences == (Sequence.T2F, Sequence.T1N, Sequence.T1C, Sequence.T2W)


def test_every_fold_is_a_file_of_the_member(tmp_path: Path, imported: Callable[..., Member]) -> None:
    folds = [randomised(V2UNet(), seed) for seed in range(3)]
    member = imported("nnunet-v2", write_v2_folder(tmp_path / "theirs", folds))
    assert [file.path.name for file in member.files] == [f"nnunet-v2-{n}.safetensors" for n in range(3)]
    assert len({file.sha256 for file in member.files}) == 3
    assert [source.split()[0] for source in member.trained_on["imported from"]] == [
        f"fold_{n}/checkpoint_final.pth" for n in range(3)
    ]


def test_a_fold_of_all_cases_is_only_used_where_there_are_no_others(tmp_path: Path) -> None:
    folder = write_v2_folder(tmp_path / "theirs", [])
    write_v2_checkpoint(folder / "fold_all" / "checkpoint_final.pth", {})
    assert [path.parent.name for path in find(folder)] == ["fold_all"]
    write_v2_checkpoint(folder / "fold_1" / "checkpoint_final.pth", {})
    assert [path.parent.name for path in find(folder)] == ["fold_1"]


def test_a_folder_without_folds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"theirs: no fold_\*/checkpoint_final\.pth there"):
        find(write_v2_folder(tmp_path / "theirs", []))


@pytest.mark.parametrize("before", ["module.", "_orig_mod."])
def test_names_from_several_gpus_or_a_compiled_network_are_recognised(
    checkpoint: Path, network: torch.nn.Module, before: str
) -> None:
    expected = read(checkpoint).tensors
    write_v2_checkpoint(checkpoint, {f"{before}{name}": tensor for name, tensor in network.state_dict().items()})
    torch.testing.assert_close(read(checkpoint).tensors, expected, rtol=0, atol=0)


def test_checkpoints_without_copies_are_read(checkpoint: Path, network: torch.nn.Module) -> None:
    expected = read(checkpoint).tensors
    kept = {n: t for n, t in network.state_dict().items() if "all_modules" not in n and "decoder.encoder" not in n}
    write_v2_checkpoint(checkpoint, kept)
    torch.testing.assert_close(read(checkpoint).tensors, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    "copy",
    ["encoder.stages.1.0.convs.0.all_modules.1.bias", "decoder.encoder.stages.2.0.convs.1.conv.weight"],
)
def test_copies_that_differ_are_refused(checkpoint: Path, network: torch.nn.Module, copy: str) -> None:
    path = spoilt(checkpoint, network, lambda weights: weights[copy].add_(1))
    with pytest.raises(WeightsError, match=rf"{copy} differs from .*, which is the same layer; found 1 such tensors"):
        read(path)


def _without(weights: dict, text: str) -> None:
    for name in [name for name in weights if text in name]:
        del weights[name]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda w: _without(w, "seg_layers.1"), r"missing decoder\.seg_layers\.1\.bias; found 2 tensors missing and 0"),
        (lambda w: w.update(new=torch.zeros(1)), "unexpected new; found 0 tensors missing and 1 unexpected"),
        (
            lambda w: w.update({"decoder.seg_layers.0.bias": torch.zeros(5)}),
            r"decoder\.seg_layers\.0\.bias and 0 other tensors have the wrong shape; found \(5,\), expected \(3,\)",
        ),
        (
            lambda w: w.update({"decoder.seg_layers.0.bias": torch.zeros(1).expand(2**40)}),
            r"'decoder\.seg_layers\.0\.bias' is not a plain tensor; found 136 entries in network_weights, expected",
        ),
        (
            lambda w: w.update({"decoder.seg_layers.0.bias": torch.zeros(3, dtype=torch.int64)}),
            r"decoder\.seg_layers\.0\.bias has the wrong type; found torch\.int64, expected real numbers",
        ),
        (
            lambda w: w["decoder.seg_layers.1.bias"].fill_(torch.nan),
            r"decoder\.seg_layers\.1\.bias holds NaN, infinity or a number",
        ),
        (lambda w: w["decoder.seg_layers.1.bias"].fill_(1e5), ".* beyond float16; expected numbers up to 65504"),
    ],
    ids=["missing", "unexpected", "shape", "4 TiB from 4 bytes", "type", "NaN", "too large"],
)
def test_tensors_that_do_not_fit_are_named(checkpoint: Path, network: torch.nn.Module, spoil: Spoil, says: str) -> None:
    with pytest.raises(WeightsError, match=rf"checkpoint_final\.pth: {says}"):
        read(spoilt(checkpoint, network, spoil))


def test_the_number_of_tensors_with_a_wrong_shape_is_reported(checkpoint: Path) -> None:
    write_v2_checkpoint(checkpoint, V2UNet((4, 8, 16)).state_dict())
    with pytest.raises(WeightsError, match=r"encoder\.stages\.2.* and 8 other tensors have the wrong shape"):
        read(checkpoint)


@pytest.mark.parametrize(
    "trainer", ["nnUNetTrainer_Primus_M_Trainer", "nnUNetTrainerV2_SwinUNETR", "MyTrainer"], ids=str
)
def test_a_trainer_that_may_change_the_network_is_refused_by_name(
    checkpoint: Path, network: torch.nn.Module, trainer: str
) -> None:
    write_v2_checkpoint(checkpoint, network.state_dict(), trainer=trainer)
    with pytest.raises(
        WeightsError, match=f"trained by '{trainer}', which may have changed the network; expected nnUN"
    ):
        read(checkpoint)


def test_a_trainer_that_uses_batch_normalisation_is_recognised(checkpoint: Path) -> None:
    write_v2_checkpoint(checkpoint, randomised(V2UNet(norm="batch")).state_dict(), trainer="nnUNetTrainerBN")
    assert read(checkpoint).description.size["norm"] == "batch"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"trainer_name": 3}, "trainer_name is 3; expected a string"),
        ({"init_args": None}, "init_args is None; expected an object with fields"),
        ({"init_args": {}}, "init_args: configuration is missing"),
        ({"init_args": {"configuration": "2d"}}, r"plans\.json: no such configuration; found '2d', expected one of 3d"),
        ({theirs.MIRRORED: [0, 3]}, r"mirroring_axes is \[0, 3\]; expected numbers of axes, 0 to 2, or none"),
        ({theirs.MIRRORED: "012"}, r"mirroring_axes is '012'; expected numbers of axes"),
        ({theirs.MIRRORED: 0}, r"mirroring_axes is 0; expected numbers of axes"),
        ({theirs.MIRRORED: torch.arange(3)}, r"mirroring_axes is .*; expected numbers of axes"),
    ],
    ids=[
        "trainer",
        "no arguments",
        "no configuration",
        "another configuration",
        "another axis",
        "no numbers",
        "a number",
        "tensor",
    ],
)
def test_a_checkpoint_with_missing_or_wrong_fields_is_refused(
    checkpoint: Path, network: torch.nn.Module, more: dict, says: str
) -> None:
    write_v2_checkpoint(checkpoint, network.state_dict(), **more)
    with pytest.raises(WeightsError, match=says):
        read(checkpoint)


def test_a_checkpoint_of_another_kind_is_refused_with_advice_to_name_it(checkpoint: Path) -> None:
    torch.save({"epoch": 1000, "state_dict": {}}, checkpoint)
    with pytest.raises(WeightsError, match=r"trainer_name is missing; expected a string\. .*or name the right kind\.$"):
        read(checkpoint)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"patch_size": [32, 24, 18]}, r"cannot be halved down to the deepest features; found 18 x 24 x 32 voxels, .*"),
        ({"arguments": {"features_per_stage": [4096, 4096, 4096]}}, "is too large at that size; found .*"),
    ],
    ids=["window", "parameters"],
)
def test_a_network_that_cannot_be_run_is_refused_without_a_remedy(checkpoint: Path, change: dict, says: str) -> None:
    (checkpoint.parents[1] / "plans.json").write_text(json.dumps(theirs.plans(**change)))
    with pytest.raises(WeightsError, match=rf"{says}\. Such weights cannot be used here\.$"):
        read(checkpoint)


@pytest.mark.parametrize("name", ["plans.json", "dataset.json"])
def test_a_checkpoint_without_its_json_files_is_refused(checkpoint: Path, name: str) -> None:
    (checkpoint.parents[1] / name).unlink()
    with pytest.raises(WeightsError, match=f"no {name} there; expected plans.json and dataset.json"):
        read(checkpoint)
