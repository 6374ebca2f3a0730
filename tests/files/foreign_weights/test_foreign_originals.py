"""Folders that nnU-Net's own packages write are imported and return the logits of nnU-Net's own networks."""

import ast
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import theirs
import torch
from theirs import V1UNet, randomised, write_v2_checkpoint

from htcnns.files.foreign_weights import KINDS
from htcnns.files.foreign_weights.nnunet_v2 import TRAINERS
from htcnns.files.member import Member
from htcnns.networks.contract import Head
from htcnns.runs.foreign_member import ImportSettings, import_member

pytestmark = pytest.mark.usefixtures("dna")

BUILDS = "build_network_architecture"
NEAR = 1e-4
PATCH = (32, 24, 16)  # of the plans, in the order of SimpleITK
CPU = torch.device("cpu")


def written_by_nnunet(folder: Path, plans: dict, labels: dict) -> torch.nn.Module:
    """Write a folder of nnU-Net and return its network, built by nnU-Net from the plans, with random statistics."""
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    data = theirs.dataset(labels)
    folder.mkdir()
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(data))
    manager = PlansManager(json.loads(json.dumps(plans)))
    chosen = manager.get_configuration("3d_fullres")
    network = build(
        chosen,
        n_in=determine_num_input_channels(manager, chosen, data),
        n_out=manager.get_label_manager(data).num_segmentation_heads,
    )
    more = {"_best_ema": np.float64(0.5), "logging": {"ema_fg_dice": [np.float64(0.5), np.float32(0.25)]}}
    write_v2_checkpoint(folder / "fold_0" / "checkpoint_final.pth", network.state_dict(), **more)
    return network


def build(chosen: object, *, n_in: int, n_out: int) -> torch.nn.Module:
    """The network of a configuration, as nnU-Net builds it."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    network = get_network_from_plans(
        chosen.network_arch_class_name,
        chosen.network_arch_init_kwargs,
        chosen.network_arch_init_kwargs_req_import,
        n_in,
        n_out,
        deep_supervision=False,
    )
    return randomised(network)


@pytest.mark.parametrize("labels", [theirs.REGIONS, theirs.LABELS], ids=["regions", "labels"])
@pytest.mark.parametrize(
    ("is_residual", "arguments"),
    [
        (False, {}),
        (False, {"norm_op": "torch.nn.modules.batchnorm.BatchNorm3d"}),
        (False, {"strides": [[1, 1, 1], [2, 2, 2], [2, 2, 1]]}),
        (True, {}),
        (True, {"strides": [[1, 1, 1], [2, 2, 2], [1, 2, 2]], "n_blocks_per_stage": [1, 3, 2]}),
    ],
    ids=["plain", "batch", "flat", "residual", "flat residual"],
)
def test_the_network_of_an_nnunet_folder_returns_nnunets_logits(
    tmp_path: Path, is_residual: bool, arguments: dict, labels: dict
) -> None:
    pytest.importorskip("nnunetv2")
    plans = theirs.plans(residual=is_residual, arguments=arguments)
    written_by_nnunet(tmp_path / "theirs", plans, labels)
    settings = ImportSettings(files=(tmp_path / "theirs",), kind="nnunet-v2", out=tmp_path / "out")
    member, (found,) = import_member(settings)
    assert member.head is (Head.SIGMOID if labels is theirs.REGIONS else Head.SOFTMAX)
    assert found.comparison.original is not None
    assert found.comparison.original < NEAR
    assert found.comparison.rounding == 0
    assert found.comparison.largest > 0.1


def test_another_norm_than_the_plans_have_changes_the_originals_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = (
        theirs.write_v2_folder(tmp_path / "theirs", [randomised(theirs.V2UNet())]) / "fold_0" / "checkpoint_final.pth"
    )
    foreign = KINDS["nnunet-v2"].read(path)
    x = torch.ones(1, 4, 8, 8, 8)
    with torch.no_grad():
        before = foreign.original(x)
        monkeypatch.setitem(foreign.description.size, "norm", "batch")
        assert not torch.allclose(foreign.original(x), before, atol=1e-3)


@pytest.fixture
def trainer_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Function that returns nnU-Net's own trainer, ready to train fold 0 in its folder; skips without its packages.

    `make bench` installs these.
    """
    module = pytest.importorskip("nnunetv2.training.nnUNetTrainer.nnUNetTrainer", exc_type=ImportError)
    for name in ("nnUNet_results", "nnUNet_preprocessed", "nnUNet_raw"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("nnUNet_compile", "f")

    def run(plans: dict, dataset: dict) -> object:
        cases = tmp_path / "Dataset777_Tiny" / "nnUNetPlans_3d_fullres"
        cases.mkdir(parents=True)
        (cases / "case.npz").touch()  # nnU-Net tells the kind of data from a file
        trainer = module.nnUNetTrainer(plans | {"continue_training": False}, "3d_fullres", 0, dataset, CPU)
        trainer.initialize()
        folder = Path(trainer.output_folder_base)
        (folder / "plans.json").write_text(json.dumps(plans))
        (folder / "dataset.json").write_text(json.dumps(dataset))
        return trainer

    return run


def train(trainer: object, *, n_steps: int) -> None:
    """Run `n_steps` steps of nnU-Net's own loop on random patches."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, *PATCH, generator=generator)
    with torch.no_grad():
        outputs = trainer.network(x)
    n_labels = 1 if trainer.label_manager.has_regions else outputs[0].shape[1] - 1
    n_channels = outputs[0].shape[1] if trainer.label_manager.has_regions else 1
    targets = [
        torch.randint(0, n_labels + 1, (2, n_channels, *each.shape[2:]), generator=generator).float()
        for each in outputs
    ]
    losses = [float(trainer.train_step({"data": x, "target": targets})["loss"]) for _ in range(n_steps)]
    assert len(set(losses)) == n_steps


@pytest.mark.slow
@pytest.mark.parametrize("labels", [theirs.REGIONS, theirs.LABELS], ids=["regions", "labels"])
@pytest.mark.parametrize("is_residual", [False, True], ids=["plain", "residual"])
def test_a_network_that_nnunet_trained_returns_its_predictors_logits(
    trainer_of: Callable, imported: Callable[..., Member], read_logits: Callable, is_residual: bool, labels: dict
) -> None:
    predictors = pytest.importorskip("nnunetv2.inference.predict_from_raw_data", exc_type=ImportError)
    trainer = trainer_of(theirs.plans(residual=is_residual), theirs.dataset(labels))
    train(trainer, n_steps=2)
    folder = Path(trainer.output_folder_base)
    trainer.save_checkpoint(f"{trainer.output_folder}/checkpoint_final.pth")
    predictor = predictors.nnUNetPredictor(use_mirroring=False, device=CPU, perform_everything_on_device=False)
    predictor.initialize_from_trained_model_folder(str(folder), (0,))
    predictor.network.load_state_dict(predictor.list_of_parameters[0])
    predictor.network.eval()
    (path,) = KINDS["nnunet-v2"].find(folder)

    def original(x: torch.Tensor) -> torch.Tensor:
        return predictor._internal_maybe_mirror_and_predict(x.permute(theirs.ITK_AXES)).permute(theirs.ITK_AXES)

    ours, expected = read_logits(KINDS["nnunet-v2"].read(path), original, PATCH[::-1])
    torch.testing.assert_close(ours, expected, rtol=0, atol=NEAR)
    assert expected.abs().max() > 0.01
    member = imported("nnunet-v2", folder)
    assert member.head is (Head.SIGMOID if labels is theirs.REGIONS else Head.SOFTMAX)
    assert member.trained_on["trainer"] == "nnUNetTrainer"


def test_trainers_listed_without_a_norm_leave_the_network_unchanged() -> None:
    nnunet = pytest.importorskip("nnunetv2")
    bases, builders = {}, set()
    for path in (Path(nnunet.__path__[0]) / "training" / "nnUNetTrainer").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                bases[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
                builders |= {node.name} if BUILDS in {getattr(each, "name", "") for each in node.body} else set()
    unchanged = {
        name
        for name in bases
        if name.startswith("nnUNetTrainer") and not ancestors(name, bases) & (builders - {"nnUNetTrainer"})
    }
    assert {name for name, norm in TRAINERS.items() if norm is None} == unchanged


def ancestors(name: str, bases: dict[str, list[str]]) -> set[str]:
    """A class and all that it inherits from."""
    return {name}.union(*(ancestors(base, bases) for base in bases.get(name, [])))


@pytest.mark.usefixtures("nnunet")
@pytest.mark.parametrize(("norm", "kind"), [("batch", "kaist-bl"), ("instance", "nnunet-v1")])
def test_a_network_of_nnunet_v1_returns_the_logits_of_nnunet_v1(tmp_path: Path, norm: str, kind: str) -> None:
    pytest.importorskip("nnunet.network_architecture.generic_UNet", exc_type=ImportError)
    torch.save({"state_dict": randomised(V1UNet((4, 8, 16), norm=norm)).state_dict()}, tmp_path / "a.model")
    foreign = KINDS[kind].read(tmp_path / "a.model")
    _, (found,) = import_member(ImportSettings(files=(tmp_path / "a.model",), kind=kind, out=tmp_path / "out"))
    assert found.comparison.original is not None
    assert found.comparison.original < NEAR
    assert set(foreign.description.size["channels"]) == {4, 8, 16}
