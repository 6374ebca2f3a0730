"""nnU-Net v1's Generic_UNet as trained by the winners of BraTS 2020 and of BraTS 2021 (KAIST; Luu & Park 2021).

Settings that are not in a checkpoint are the same for all that they published (tasks 82 and 500): regions WT, TC, ET
under a sigmoid, windows of 128 voxels, mirrored over every axis, T1, T1ce, T2, FLAIR. The plans.pkl beside it is not
opened, as reading it can run code in it. Mirrors, windows and folds are averaged as probabilities there, as here.
"""

import contextlib
import io
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from htcnns.errors import WeightsError
from htcnns.files.foreign_weights.checkpoint import read_checkpoint, tensors_in
from htcnns.files.foreign_weights.fitting import Naming, fitted, reversed_axes, shape_of
from htcnns.files.foreign_weights.kind import OWN_BRAIN, UNCLEANED, Description, Foreign, Kind, the_file_itself
from htcnns.image.postprocess import PostprocessRules
from htcnns.image.windows import MIRROR_AXES
from htcnns.labels import GLIOMA, SEQUENCES, Region
from htcnns.networks.contract import Head

WINDOW = (128, 128, 128)
KAISTS_RULES = PostprocessRules(et_component_voxels=0, et_total_voxels=200, et_total_mean=1.0)  # its published code
_STAGE = re.compile(r"(encoder|decoder)\.stages\.(\d+)\.(?:0\.)?convs\.(\d+)\.(conv|norm)\.(\w+)")
_CONTEXT = re.compile(r"conv_blocks_context\.(\d+)\.")


def read(path: Path, *, made_by: str, norm: str | None, narrowing: int, rules: PostprocessRules) -> Foreign:
    """One fold's `model_final_checkpoint.model`.

    Args:
        made_by: description of who trained it, for readers.
        norm: normalisation that it must have; None for "batch" or "instance", whichever its tensors show.
        narrowing: argument of our U-Net.
        rules: clean-up that belongs to it.

    Raises:
        WeightsError: a network of another layout, or tensors that do not fit.
    """
    checkpoint = read_checkpoint(path)
    theirs = tensors_in(checkpoint, "state_dict")
    size = _size(theirs, path)
    size |= _norm(theirs, norm, path)
    size |= {"narrowing": narrowing} if narrowing > 1 else {}
    description = Description(
        network="unet",
        size=size,
        sequences=SEQUENCES,
        regions=GLIOMA,
        head=Head.SIGMOID,
        outputs=(Region.WT, Region.TC, Region.ET),
        window=WINDOW,
        mirror=MIRROR_AXES,
        rules=rules,
        made_by={"trainer": made_by},
        notes=(OWN_BRAIN,),
    )
    naming = Naming(partial(_theirs, len(size["channels"])), turned=lambda _, tensor: reversed_axes(tensor))
    tensors = fitted(theirs, description.outline(path).state_dict(), naming, place=path)
    return Foreign(
        description=description,
        tensors=tensors,
        checkpoint=checkpoint.path,
        sha256=checkpoint.sha256,
        original=partial(_original, description, theirs),
    )


def _kind(title: str, made_by: str, *, norm: str | None, narrowing: int = 1, rules: PostprocessRules) -> Kind:
    reader = partial(read, made_by=made_by, norm=norm, narrowing=narrowing, rules=rules)
    return Kind(title, the_file_itself, reader, order="as in tasks 82 and 500, which were published")


BRATS_2020 = _kind("nnU-Net v1 with BraTS regions, as BraTS 2020's winner", "nnU-Net v1", norm=None, rules=UNCLEANED)
KAIST_BL = _kind("KAIST's BL of BraTS 2021", "KAIST, BL", norm="batch", rules=KAISTS_RULES)
KAIST_LARGE = _kind("KAIST's BL+L+GN of BraTS 2021", "KAIST, BL+L+GN", norm="group", narrowing=2, rules=KAISTS_RULES)


def _size(theirs: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """Widths, from the shapes of their tensors, and two convolutions per resolution, as arguments of our U-Net."""
    n_stages = len({match[1] for name in theirs if (match := _CONTEXT.match(name))})
    names = [_theirs(n_stages, f"encoder.stages.{s}.0.convs.0.conv.weight") for s in range(n_stages)]
    channels = [shape_of(theirs, str(name), n_axes=5, place=path)[0] for name in names]
    ups = [shape_of(theirs, f"tu.{u}.weight", n_axes=5, place=path)[2:] for u in range(n_stages - 1)]
    if n_stages < 2 or set(ups) != {(2, 2, 2)}:
        raise WeightsError(
            "a network that htcnns cannot build",
            place=path,
            found=f"{n_stages} resolutions, edges that grow by {', '.join(map(str, ups)) or 'nothing'}",
            expected="edges that double from each resolution to the next",
            remedy="Such weights cannot be used here.",
        )
    return {"channels": channels, "n_convs": [2] * n_stages}


def _norm(theirs: Mapping[str, Tensor], norm: str | None, path: Path) -> dict[str, str]:
    """The normalisation as an argument of our U-Net; empty for the default, instance normalisation.

    Args:
        norm: as for `read`.
    """
    found = "batch" if any(name.endswith("instnorm.running_mean") for name in theirs) else norm or "instance"
    if found != (norm or found):
        raise WeightsError("wrong normalisation", place=path, found=found, expected=norm, remedy="Name the right kind.")
    return {"norm": found} if found != "instance" else {}


def _theirs(n_stages: int, ours: str) -> str | None:
    """Their name for our tensor; None for the biases of transposed convolutions and heads, which theirs do not have."""
    if match := _STAGE.fullmatch(ours):
        part = "instnorm" if match[4] == "norm" else "conv"
        if match[1] == "decoder":
            return f"conv_blocks_localization.{match[2]}.{match[3]}.blocks.0.{part}.{match[5]}"
        is_deepest = int(match[2]) == n_stages - 1
        block = f"{match[3]}.blocks.0" if is_deepest else f"blocks.{match[3]}"
        return f"conv_blocks_context.{match[2]}.{block}.{part}.{match[5]}"
    if ours.endswith(".bias"):
        return None
    return ours.replace("decoder.transpconvs", "tu").replace("decoder.seg_layers", "seg_outputs")


def _original(description: Description, tensors: Mapping[str, Tensor], x: Tensor) -> Tensor | None:
    """The output of nnU-Net v1's own class; None where it is not installed or cannot build the network, as KAIST's."""
    size: dict[str, Any] = description.size
    channels = size["channels"]
    if "narrowing" in size or channels != [min(channels[0] * 2**s, max(channels)) for s in range(len(channels))]:
        return None
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints a request for citation on import
            from nnunet.network_architecture.generic_UNet import Generic_UNet  # optional, as for nnU-Net v2
    except ImportError:
        return None
    n_pool = len(channels) - 1
    network = Generic_UNet(
        len(description.sequences),
        channels[0],
        len(description.outputs),
        n_pool,
        num_conv_per_stage=2,
        conv_op=nn.Conv3d,
        norm_op=nn.BatchNorm3d if size.get("norm") == "batch" else nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        dropout_op=nn.Dropout3d,
        dropout_op_kwargs={"p": 0, "inplace": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"negative_slope": 1e-2, "inplace": True},
        deep_supervision=False,
        final_nonlin=nn.Identity(),
        weightInitializer=None,
        pool_op_kernel_sizes=[(2, 2, 2)] * n_pool,
        conv_kernel_sizes=[(3, 3, 3)] * (n_pool + 1),
        convolutional_pooling=True,
        convolutional_upsampling=True,
        max_num_features=max(channels),
    )
    network.load_state_dict(dict(tensors))
    return reversed_axes(network.eval()(reversed_axes(x)))
