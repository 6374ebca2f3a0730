"""DMFNet as its published code trains it (Chen 2019, commit 3194707): labels under a softmax.

Settings that are not in a checkpoint are fixed in that code: FLAIR, T1ce, T1 and T2, axes in the order of the file,
intensities clipped at quantiles of the brain. Mirroring and clean-up are off there unless they are asked for.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from htcnns.files.foreign_weights.checkpoint import read_checkpoint, tensors_in
from htcnns.files.foreign_weights.fitting import Naming, fitted, shape_of
from htcnns.files.foreign_weights.kind import (
    BY_REGION,
    OWN_BRAIN,
    Description,
    Foreign,
    Kind,
    the_file_itself,
    without_original,
)
from htcnns.image.member_input import Preprocessing
from htcnns.labels import GLIOMA, Label, Sequence
from htcnns.networks.contract import Head

WINDOW = (128, 128, 128)
CLIP = (0.002, 0.998)  # its preprocess.py
NOTES = (
    "outside the brain: here 0, in the published code the z-score of intensity 0",
    "softmax: here once, in the published code twice",
    "windows: here of 128 voxels, in the published code the whole scan at once",
    OWN_BRAIN,
    BY_REGION,
)
N_BRANCHES = 3  # each with a weight of its own
_BRANCHED = re.compile(r"(encoder_block[23]\.\d+)\.")
_IN_UNIT = {"narrow": "conv1x1x1_in1", "widen": "conv1x1x1_in2", "convs": "conv3x3x3_m1", "flat": "conv3x3x3_m2"}
_LAYERS = {"0": "bn", "2": "conv"}  # by index: normalisation, ReLU and convolution


def read(path: Path) -> Foreign:
    """One `model_epoch_*.pth`.

    Raises:
        WeightsError: tensors that do not fit.
    """
    checkpoint = read_checkpoint(path)
    theirs = tensors_in(checkpoint, "state_dict")
    description = Description(
        network="dmfnet",
        size=_size(theirs, path),
        sequences=(Sequence.T2F, Sequence.T1C, Sequence.T1N, Sequence.T2W),
        regions=GLIOMA,
        head=Head.SOFTMAX,
        outputs=(Label.BACKGROUND, Label.NCR, Label.ED, Label.ET),
        window=WINDOW,
        preprocessing=Preprocessing(clip=CLIP),
        made_by={"trainer": "DMFNet"},
        notes=NOTES,
    )
    joined = _with_joined_weights(theirs, path)
    return Foreign(
        description=description,
        tensors=fitted(joined, description.outline(path).state_dict(), Naming(_theirs), place=path),
        checkpoint=checkpoint.path,
        sha256=checkpoint.sha256,
        original=without_original,
    )


KIND = Kind("DMFNet from its published code", the_file_itself, read, order="as in its published code")


def _size(theirs: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The arguments of our class: those that their tensors show, and the fixed ones."""
    names = ["encoder_block1.weight", *(f"encoder_block{b}.0.conv3x3x3_m2.conv.weight" for b in (2, 3, 4))]
    shapes = [shape_of(theirs, name, n_axes=5, place=path) for name in names]
    width, in_a_group = shapes[1][:2]
    return {
        "channels": [shape[0] for shape in shapes],
        "groups": width // max(1, in_a_group),
        "norm": "batch",
        "mie": False,
        "sie": False,
    }


def _with_joined_weights(theirs: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Their tensors, with the weights of each unit's branches joined into one; each of them must exist and be 1-D."""
    units = dict.fromkeys(match[1] for name in theirs if (match := _BRANCHED.match(name)))
    joined = dict(theirs)
    for unit in units:
        names = [f"{unit}.weight{n + 1}" for n in range(N_BRANCHES)]
        for name in names:
            shape_of(theirs, name, n_axes=1, place=path)
        joined[f"{unit}.weights"] = torch.cat([joined.pop(name) for name in names])
    return joined


def _theirs(ours: str) -> str:
    """Their name for our tensor."""
    part, number, *rest = ours.split(".")
    match part, rest:
        case "stem", _:
            return "encoder_block1.weight"
        case "head", _:
            return "seg.weight"
        case "ups", _:
            return f"decoder_block{int(number) + 1}.{_in_unit(rest, is_branched=False, is_strided=False)}"
    unit, *inside = rest
    is_branched = number != "2"  # the deepest stage has one convolution per unit
    return f"encoder_block{int(number) + 2}.{unit}.{_in_unit(inside, is_branched=is_branched, is_strided=unit == '0')}"


def _in_unit(ours: list[str], *, is_branched: bool, is_strided: bool) -> str:
    """Their name for our tensor inside a unit."""
    layer, *rest = ours
    if not rest:
        return layer
    name = _IN_UNIT.get(layer, "conv2x2x2_shortcut" if is_strided else "conv1x1x1_shortcut")
    if layer == "convs":
        branch, *rest = rest
        name += f".{branch}" if is_branched else ""
    number, kind = rest
    return f"{name}.{_LAYERS[number]}.{kind}"
