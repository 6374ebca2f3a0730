"""MONAI's Swin UNETR as its research scripts train it on BraTS 2021: a folder with a model.pt for each fold.

No file says which corners are merged, as old and new merging have the same tensors: whoever imports must name the kind.
The published weights are older than MONAI 1.5.
"""

import re
from collections.abc import Mapping
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
from htcnns.networks.swin_unetr import CORNERS, Merging

WINDOW = (128, 128, 128)
WIDER = (1, 1, 2, 4, 8, 16)  # channels at each resolution, in multiples of the feature size
MONAIS_MERGING = {"monai-1.5": "merging"}  # our name and that of MONAI since 1.5, which lacks the older merging
N_STAGES = 4
_DEEPEST = 10  # MONAI's number of the residual block at the lowest resolution
_TABLE = re.compile(r"\.relative_position_index$")  # follows from the sizes
_BLOCK = "swinViT.layers{}.0.blocks.0.attn.relative_position_bias_table"


def read(path: Path, *, merging: str) -> Foreign:
    """One fold's `model.pt`.

    Args:
        merging: argument of our network.

    Raises:
        WeightsError: tensors that do not fit.
    """
    checkpoint = read_checkpoint(path)
    theirs = tensors_in(checkpoint, "state_dict")
    description = Description(
        network="swin_unetr",
        size={**_size(theirs, path), "merging": merging},
        sequences=(Sequence.T2F, Sequence.T1C, Sequence.T1N, Sequence.T2W),
        regions=GLIOMA,
        head=Head.SIGMOID,
        outputs=(Region.TC, Region.WT, Region.ET),
        window=WINDOW,
        made_by={"trainer": "MONAI's research scripts for Swin UNETR"},
        notes=(WINDOWS_OF_LOGITS,),
    )
    naming = Naming(_theirs, is_unused=lambda name: bool(_TABLE.search(name)))
    return Foreign(
        description=description,
        tensors=fitted(theirs, description.outline(path).state_dict(), naming, place=path),
        checkpoint=checkpoint.path,
        sha256=checkpoint.sha256,
        original=partial(_original, description, theirs),
    )


def _kind(merging: str, when: str) -> Kind:
    find = partial(find_named, names=("model.pt", "*/model.pt"))
    reader = partial(read, merging=merging)
    return Kind(f"MONAI's Swin UNETR, trained with {when}", find, reader, order="as in its fold lists")


UNTIL_1_4 = _kind("monai-1.4", "MONAI 1.4 or older, as the published weights were")
SINCE_1_5 = _kind("monai-1.5", "MONAI 1.5 or newer")


def _size(theirs: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The arguments of our class that their tensors show; `merging` is not among them."""
    feature_size = shape_of(theirs, "encoder1.layer.conv1.conv.weight", n_axes=5, place=path)[0]
    tables = [shape_of(theirs, _BLOCK.format(s + 1), n_axes=2, place=path) for s in range(N_STAGES)]
    norms = [rf"swinViT\.layers{s + 1}\.0\.blocks\.\d+\.norm1\.weight" for s in range(N_STAGES)]
    return {
        "channels": [feature_size * factor for factor in WIDER],
        "blocks": [sum(bool(re.fullmatch(norm, name)) for name in theirs) for norm in norms],
        "heads": [n_heads for _, n_heads in tables],
        "attended": (round(tables[0][0] ** (1 / 3)) + 1) // 2,  # a row for each offset inside a cube
    }


def _theirs(ours: str) -> str:
    """Their name for our tensor."""
    part, rest = ours.split(".", 1)
    number, _, inside = rest.partition(".")
    match part:
        case "stem":
            return f"swinViT.patch_embed.proj.{rest}"
        case "stages":
            return f"swinViT.layers{int(number) + 1}.0.{inside.replace('merging', 'downsample')}"
        case "residuals":
            return f"encoder{int(number) + 1 if int(number) < N_STAGES else _DEEPEST}.{inside}"
        case "ups":
            return f"decoder{N_STAGES + 1 - int(number)}.{inside}"
    return f"out.conv.conv.{rest}"


def _original(description: Description, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor | None:
    """The output of MONAI's own class; None where a package that it needs is not installed.

    MONAI no longer has the merging of 1.4 and before: for such weights its class uses ours, so this comparison cannot
    reveal an error in the merging.
    """
    size: dict[str, Any] = description.size
    merging = size["merging"]
    network = _monais()(
        in_channels=len(description.sequences),
        out_channels=len(description.outputs),
        depths=size["blocks"],
        num_heads=size["heads"],
        window_size=size["attended"],
        feature_size=size["channels"][0],
        downsample=MONAIS_MERGING.get(merging) or partial(_merging, CORNERS[merging]),
    ).eval()
    network.load_state_dict(dict(tensors), strict=False)  # tables that follow from the sizes may be missing
    try:
        return network(x)
    except ImportError:  # of einops, which MONAI imports only when it runs
        return None


def _monais() -> type[nn.Module]:
    with torch.inference_mode(mode=False):  # tensors made on import must also work in training
        from monai.networks.nets import SwinUNETR  # slow
    return SwinUNETR


def _merging(corners: tuple, dim: int, **_: object) -> Merging:
    """Our merging, made with the arguments that MONAI's class passes."""
    return Merging(dim, 2 * dim, corners)
