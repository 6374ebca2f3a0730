"""nnU-Net v2: folders with plans.json, dataset.json and a checkpoint for each fold."""

import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from htcnns.errors import WeightsError, shown
from htcnns.files.foreign_weights.checkpoint import Checkpoint, read_checkpoint, tensors_in
from htcnns.files.foreign_weights.fields import field, read_object
from htcnns.files.foreign_weights.fitting import Naming, fitted, reversed_axes
from htcnns.files.foreign_weights.kind import BY_REGION, OWN_BRAIN, Description, Foreign, Kind
from htcnns.files.foreign_weights.meanings import outputs_in, sequences_in
from htcnns.files.foreign_weights.nnunet_plans import read_plan
from htcnns.files.places import is_file, is_folder
from htcnns.image.windows import MIRROR_AXES
from htcnns.networks.blocks import strides_of
from htcnns.networks.contract import Head

PLANS, DATASET = "plans.json", "dataset.json"
FINAL = "checkpoint_final.pth"
MIRRORED = "inference_allowed_mirroring_axes"
OF_LOGITS = "means over mirrors, windows and folds: here of probabilities, in nnU-Net v2 of logits"

_LENGTHS = (1, 5, 10, 20, 50, 100, 250, 500, 750, 2000, 4000, 8000)  # of trainings, in epochs
_LOSSES = ("DiceLoss", "DiceCELoss_noSmooth", "Topk10Loss", "Topk10LossLS01", "DiceTopK10Loss", "CELoss")
_OPTIMISERS = ("Adan", "Adan1en3", "Adan3en4", "Adan1en1", "AdanCosAnneal", "Adam", "VanillaAdam", "VanillaAdam1en3")
_VARIANTS = (
    *(f"_{n}epoch{'s' if n > 1 else ''}" for n in _LENGTHS),
    *(f"_{n}epochs_NoMirroring" for n in (250, 2000, 4000, 8000)),
    *("DA5", "DA5ord0", "DA5Segord0", "DA5_10epochs", "NoDA", "_DASegOrd0", "_DASegOrd0_NoMirroring", "_noDummy2DDA"),
    *("NoMirroring", "_onlyMirror01", "_onlyMirror01_1500ep", "_onlyMirror01_DASegOrd0", "_onlyMirror01_DA5"),
    *("_warmup", "CosAnneal", *_LOSSES, "CELoss_5epochs", *_OPTIMISERS, "VanillaAdam3en4", "Adam1en3", "Adam3en4"),
    *("Benchmark_5epochs", "Benchmark_5epochs_noDataLoading", "NoDeepSupervision"),
    *("_probabilisticOversampling", "_probabilisticOversampling_033", "_probabilisticOversampling_010"),
)
TRAINERS: Mapping[str, str | None] = MappingProxyType(  # those of 2.8.1, and the normalisation that they substitute
    {"nnUNetTrainer": None, **dict.fromkeys(f"nnUNetTrainer{each}" for each in _VARIANTS), "nnUNetTrainerBN": "batch"}
)
_COPY = re.compile(r"\.all_modules\.(\d+)\.")  # nnU-Net's second name for each convolution and its normalisation
_PARTS = ("conv", "norm")


def find(path: Path) -> tuple[Path, ...]:
    """The checkpoint itself, the one in a fold's folder, or those of all folds; `fold_all` only if it is the only fold.

    Raises:
        WeightsError: the folder has no checkpoint.
    """
    if not is_folder(path):
        return (path,)
    if is_file(path / FINAL):
        return (path / FINAL,)
    of_folds = sorted(fold / FINAL for fold in path.glob("fold_*") if is_file(fold / FINAL))
    found = [each for each in of_folds if each.parent.name != "fold_all"] or of_folds
    if not found:
        raise WeightsError(
            f"no fold_*/{FINAL} there",
            place=path,
            expected=f"the folder with {PLANS} and the fold folders",
            remedy="Give that folder, or the checkpoints themselves.",
        )
    return tuple(found)


def read(path: Path) -> Foreign:
    """One fold's checkpoint, as described by plans.json and dataset.json in its folder or the one above.

    Raises:
        WeightsError: unsupported plans, a trainer that may change the network, tensors that do not fit, or copies of a
            tensor that differ.
    """
    checkpoint = read_checkpoint(path)
    folder = path.parent.parent if is_file(path.parent.parent / PLANS) else path.parent
    trainer = _trainer(checkpoint)
    configuration = field(
        field(checkpoint.content, "init_args", dict, place=path), "configuration", str, place=(path, "init_args")
    )
    plan = read_plan(folder / PLANS, configuration, norm=TRAINERS[trainer])
    regions, head, outputs = outputs_in(read_object(folder / DATASET), place=folder / DATASET)
    description = Description(
        network=plan.network,
        size=plan.size,
        sequences=sequences_in(folder / DATASET),
        regions=regions,
        head=head,
        outputs=outputs,
        window=plan.window,
        mirror=_mirror(checkpoint),
        made_by={"data set": plan.data_set, "trainer": trainer, "configuration": configuration},
        notes=(OWN_BRAIN, OF_LOGITS, *([BY_REGION] if head is Head.SOFTMAX else [])),
    )
    theirs = tensors_in(checkpoint, "network_weights")
    canonical = {_canonical(name): tensor for name, tensor in reversed(theirs.items())}  # the first of a name wins
    naming = Naming(str, turned=lambda _, tensor: reversed_axes(tensor))
    tensors = fitted(canonical, description.outline(path).state_dict(), naming, place=path)
    _require_equal_copies(theirs.items(), canonical, path)
    return Foreign(
        description=description,
        tensors=tensors,
        checkpoint=checkpoint.path,
        sha256=checkpoint.sha256,
        original=partial(_original, description, canonical),
    )


KIND = Kind("nnU-Net v2, plain or with a residual encoder", find, read)


def _trainer(checkpoint: Checkpoint) -> str:
    """Name of the class that trained it; raises WeightsError where that may have changed the network."""
    name = field(checkpoint.content, "trainer_name", str, place=checkpoint.path)
    if name not in TRAINERS:
        raise WeightsError(
            f"trained by {shown(name)}, which may have changed the network",
            place=checkpoint.path,
            expected="nnUNetTrainer, or a variant of it that comes with nnU-Net and changes no layer",
            remedy="Such weights cannot be used here.",
        )
    return name


def _mirror(checkpoint: Checkpoint) -> str:
    """The axes of (I, J, K) over which nnU-Net mirrors windows with these weights; it numbers axes in reverse order."""
    axes = checkpoint.content.get(MIRRORED)
    if axes is None:
        return ""
    if not isinstance(axes, list | tuple) or not all(type(axis) is int and 0 <= axis <= 2 for axis in axes):
        raise WeightsError(
            f"{MIRRORED} is {shown(axes)}",
            place=checkpoint.path,
            expected="numbers of axes, 0 to 2, or none",
            remedy="Restore the file as nnU-Net wrote it.",
        )
    return "".join(letter for letter, axis in zip(MIRROR_AXES, (2, 1, 0), strict=True) if axis in axes)


def _canonical(name: str) -> str:
    """The first of the names that nnU-Net has for the tensor with that name."""
    name = name.removeprefix("decoder.") if name.startswith("decoder.encoder.") else name
    return _COPY.sub(lambda match: f".{_PARTS[int(match[1])]}." if int(match[1]) < 2 else match[0], name)


def _require_equal_copies(theirs: Iterable[tuple[str, Tensor]], canonical: Mapping[str, Tensor], path: Path) -> None:
    """Raise WeightsError where a tensor differs from another of the same layer; the message names the first."""
    others = [
        name
        for name, tensor in theirs
        if tensor.shape != canonical[_canonical(name)].shape or not torch.equal(tensor, canonical[_canonical(name)])
    ]
    if others:
        raise WeightsError(
            f"{others[0]} differs from {_canonical(others[0])}, which is the same layer",
            place=path,
            found=f"{len(others)} such tensors",
            expected="equal copies",
            remedy="Give the checkpoint as nnU-Net wrote it.",
        )


def _original(description: Description, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor | None:
    """The output of nnU-Net's own class; None where its package is not installed."""
    try:
        from dynamic_network_architectures.architectures import unet  # optional: only this comparison needs it
    except ImportError:
        return None
    size: dict[str, Any] = description.size
    n_stages = len(size["channels"])
    halvings = size["halvings"][::-1] if "halvings" in size else None  # theirs are in reverse order
    shared = {
        "input_channels": len(description.sequences),
        "n_stages": n_stages,
        "features_per_stage": size["channels"],
        "conv_op": nn.Conv3d,
        "kernel_sizes": 3,
        "strides": [(1, 1, 1), *strides_of(halvings, n_stages)],
        "num_classes": len(description.outputs),
        "conv_bias": True,
        "norm_op": nn.BatchNorm3d if size.get("norm") == "batch" else nn.InstanceNorm3d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
    }
    if description.network == "unet":
        up = size["n_convs"][-2::-1]
        network = unet.PlainConvUNet(n_conv_per_stage=size["n_convs"], n_conv_per_stage_decoder=up, **shared)
    else:
        up = size["n_convs_up"][::-1]
        network = unet.ResidualEncoderUNet(n_blocks_per_stage=size["blocks"], n_conv_per_stage_decoder=up, **shared)
    network.load_state_dict(dict(tensors), strict=False)  # its copies are views of these
    return reversed_axes(network.eval()(reversed_axes(x)))
