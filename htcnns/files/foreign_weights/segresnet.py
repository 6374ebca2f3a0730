"""SegResNet from MONAI's bundle `brats_mri_segmentation`, trained on BraTS 2018: models/model.pt."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from htcnns.files.foreign_weights.checkpoint import read_checkpoint, tensors_in
from htcnns.files.foreign_weights.fitting import Naming, fitted, shape_of
from htcnns.files.foreign_weights.kind import WINDOWS_OF_LOGITS, Description, Foreign, Kind, find_named
from htcnns.labels import GLIOMA, Region, Sequence
from htcnns.networks.contract import Head

WINDOW = (224, 224, 144)  # as in its training: whole brains fit in, so normalisation sees what it saw then
GROUPS, DROPOUT = 8, 0.2  # not visible in any tensor
_NAMES = (  # parts of our names and what they are in theirs, replaced in this order
    (r"^stem\.0\.", "convInit.conv."),
    (r"^head\.0\.", "conv_final.0."),
    (r"^head\.2\.", "conv_final.2.conv."),
    (r"^narrow\.(\d+)\.0\.", r"up_samples.\1.0.conv."),
    (r"^downs\.(\d+)\.0\.", r"down_layers.\1.0.conv."),
    (r"^downs\.", "down_layers."),
    (r"^ups\.", "up_layers."),
    (r"\.layers\.0\.", ".norm1."),
    (r"\.layers\.2\.", ".conv1.conv."),
    (r"\.layers\.3\.", ".norm2."),
    (r"\.layers\.5\.", ".conv2.conv."),
)
_DOWN = re.compile(r"down_layers\.(\d+)\.\d+\.norm1\.weight")
_UP = re.compile(r"up_layers\.(\d+)\.\d+\.norm1\.weight")


def read(path: Path) -> Foreign:
    """The bundle's `model.pt`, which contains nothing but the tensors.

    Raises:
        WeightsError: tensors that do not fit.
    """
    checkpoint = read_checkpoint(path)
    theirs = tensors_in(replace(checkpoint, content={"tensors": checkpoint.content}), "tensors")
    description = Description(
        network="segresnet",
        size=_size(theirs, path),
        sequences=(Sequence.T1C, Sequence.T1N, Sequence.T2W, Sequence.T2F),
        regions=GLIOMA,
        head=Head.SIGMOID,
        outputs=(Region.TC, Region.WT, Region.ET),
        window=WINDOW,
        made_by={"trainer": "MONAI's bundle brats_mri_segmentation"},
        notes=(WINDOWS_OF_LOGITS,),
    )
    return Foreign(
        description=description,
        tensors=fitted(theirs, description.outline(path).state_dict(), Naming(_theirs), place=path),
        checkpoint=checkpoint.path,
        sha256=checkpoint.sha256,
        original=partial(_original, description, theirs),
    )


KIND = Kind(
    "MONAI's bundle brats_mri_segmentation",
    partial(find_named, names=("models/model.pt", "model.pt")),
    read,
    order="as the bundle describes its input",
)


def _size(theirs: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The arguments of our class: those that their tensors show, and the fixed ones."""
    width = shape_of(theirs, "convInit.conv.weight", n_axes=5, place=path)[0]
    blocks = _counts(theirs, _DOWN)
    return {
        "channels": [width * 2**s for s in range(len(blocks))],
        "blocks": blocks,
        "blocks_up": _counts(theirs, _UP),
        "groups": GROUPS,
        "dropout": DROPOUT,
    }


def _counts(theirs: Mapping[str, Tensor], of_block: re.Pattern) -> list[int]:
    """Number of blocks at each resolution."""
    numbers = [int(match[1]) for name in theirs if (match := of_block.fullmatch(name))]
    return [numbers.count(number) for number in sorted(set(numbers))]


def _theirs(ours: str) -> str:
    """Their name for our tensor."""
    for part, name in _NAMES:
        ours = re.sub(part, name, ours)
    return ours


def _original(description: Description, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The output of MONAI's own class."""
    size: dict[str, Any] = description.size
    network = _monais()(
        init_filters=size["channels"][0],
        in_channels=len(description.sequences),
        out_channels=len(description.outputs),
        blocks_down=size["blocks"],
        blocks_up=size["blocks_up"],
    ).eval()
    network.load_state_dict(dict(tensors))
    return network(x)


def _monais() -> type[nn.Module]:
    with torch.inference_mode(mode=False):  # tensors made on import must also work in training
        from monai.networks.nets import SegResNet  # slow
    return SegResNet
