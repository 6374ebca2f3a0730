"""TransBTS as its published code trains it (Wang 2021, commit 20085fb): labels under a softmax.

Settings that are not in a checkpoint are fixed in that code: eight heads, FLAIR, T1ce, T1 and T2, axes in the order of
the file, windows mirrored over every axis, ET of few voxels turned into NCR. Our network leaves out the mistakes of
that code, such as dropout at inference.
"""

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from htcnns.errors import WeightsError
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
from htcnns.image.postprocess import PostprocessRules
from htcnns.image.windows import MIRROR_AXES
from htcnns.labels import GLIOMA, Label, Sequence
from htcnns.networks.contract import Head

HEADS = 8
BLOCKS = [1, 2, 2, 4]
POSITIONS = "position_encoding.position_embeddings"
RULES = PostprocessRules(et_component_voxels=0, et_total_voxels=500, et_total_mean=1.0)  # its predict.py
NOTES = (
    "dropout: here off, in the published code always on; softmax: here once, there twice",
    "windows: here overlapping and averaged, in the published code eight fixed ones pieced together",
    OWN_BRAIN,
    BY_REGION,
)
_UNUSED = re.compile(r"(linear_encoding|pre_head_ln)\.")  # computed there, but never used
_DROPOUT = 0.1
_SHARE = 8  # edge in voxels of the cube that one token stands for
_IN_BLOCK = {"0": "conv1", "1": "bn1", "3": "conv2", "4": "bn2"}  # by index: convolution, normalisation and ReLU, twice
_IN_LAYER = {
    "norm1": (0, "norm"),
    "to_qkv": (0, "fn.qkv"),
    "to_out": (0, "fn.proj"),
    "norm2": (1, "norm"),
    "forward1": (1, "fn.net.0"),
    "forward2": (1, "fn.net.3"),
}  # each of our layers is two residual layers there
_IN_UP = {"narrow": "conv1", "transpconv": "conv2", "join": "conv3"}
_PLAIN = {
    "stem": "Unet.InitConv.conv",
    "bottleneck.norm": "bn",
    "bottleneck.embed": "conv_x",
    "head": "endconv",
}


def read(path: Path) -> Foreign:
    """One `model_epoch_*.pth`.

    Raises:
        WeightsError: tensors that do not fit.
    """
    checkpoint = read_checkpoint(path)
    theirs = tensors_in(checkpoint, "state_dict")
    size = _size(theirs, path)
    edge = size["edge"]
    description = Description(
        network="transbts",
        size=size,
        sequences=(Sequence.T2F, Sequence.T1C, Sequence.T1N, Sequence.T2W),
        regions=GLIOMA,
        head=Head.SOFTMAX,
        outputs=(Label.BACKGROUND, Label.NCR, Label.ED, Label.ET),
        window=(edge, edge, edge),
        mirror=MIRROR_AXES,
        rules=RULES,
        made_by={"trainer": "TransBTS"},
        notes=NOTES,
    )
    naming = Naming(_theirs, turned=partial(_turned, edge // _SHARE), is_unused=lambda name: bool(_UNUSED.match(name)))
    return Foreign(
        description=description,
        tensors=fitted(theirs, description.outline(path).state_dict(), naming, place=path),
        checkpoint=checkpoint.path,
        sha256=checkpoint.sha256,
        original=without_original,
    )


KIND = Kind("TransBTS from its published code", the_file_itself, read, order="as in its published code")


def _size(theirs: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The arguments of our class: those that the shapes of their tensors show, and the fixed ones."""
    widths = ("Unet.InitConv.conv.weight", *(f"Unet.EnDown{n}.conv.weight" for n in (1, 2, 3)))
    channels = [shape_of(theirs, name, n_axes=5, place=path)[0] for name in widths]
    _, n_tokens, embedding = shape_of(theirs, POSITIONS, n_axes=3, place=path)
    edge = round(n_tokens ** (1 / 3))
    if edge**3 != n_tokens:
        raise WeightsError(
            f"{POSITIONS} does not describe a cube",
            place=path,
            found=f"{n_tokens} tokens",
            expected="4096, which are 16 along each axis",
            remedy="Give a checkpoint of the published code.",
        )
    return {
        "channels": channels,
        "blocks": list(BLOCKS),
        "embedding": embedding,
        "layers": len([name for name in theirs if name.endswith(".fn.fn.qkv.weight")]),
        "heads": HEADS,
        "hidden": shape_of(theirs, "transformer.net.1.fn.fn.net.0.weight", n_axes=2, place=path)[0],
        "edge": _SHARE * edge,
        "norm": "batch",
        "dropout": _DROPOUT,
    }


def _theirs(ours: str) -> str:
    """Their name for our tensor."""
    if ours == "bottleneck.positions":
        return POSITIONS
    module, _, kind = ours.rpartition(".")
    if module in _PLAIN:
        return f"{_PLAIN[module]}.{kind}"
    first, *rest = module.split(".")
    return f"{_of_part(first, rest)}.{kind}"


def _of_part(first: str, rest: list[str]) -> str:
    """Their name for the module `rest` in the part `first` of our network."""
    match first, rest:
        case "downs", [number]:
            return f"Unet.EnDown{int(number) + 1}.conv"
        case "stages", [stage, block, layer]:
            name = f"EnBlock{int(stage) + 1}" + (f"_{int(block) + 1}" if stage != "0" else "")
            return f"Unet.{name}.{layer.replace('norm', 'bn')}"
        case "bottleneck", ["layers", number, layer]:
            second, name = _IN_LAYER[layer]
            return f"transformer.net.{2 * int(number) + second}.fn.{name}"
        case "narrow", [number]:
            return f"Enblock8_1.{_IN_BLOCK[number]}"
        case "deepest", ["convs", number]:
            return f"Enblock8_2.{_IN_BLOCK[number]}"
        case "ups", [number, "block", "convs", layer]:
            return f"DeBlock{len(BLOCKS) - int(number)}.{_IN_BLOCK[layer]}"
        case "ups", [number, layer]:
            return f"DeUp{len(BLOCKS) - int(number)}.{_IN_UP[layer]}"
    raise ValueError(f"{first}.{'.'.join(rest)}")  # our own network has nothing else


def _turned(edge: int, ours: str, tensor: Tensor) -> Tensor:
    """Their table of positions, (1, tokens, C), as ours, (1, C, I, J, K); other tensors unchanged."""
    if ours != "bottleneck.positions":
        return tensor
    return tensor.transpose(1, 2).unflatten(2, (edge, edge, edge))
