"""The bytes of a safetensors file: writing tensors, and reading exactly the tensors of a known network."""

import json
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError, deserialize
from safetensors.torch import save
from torch import Tensor

from htcnns.errors import WeightsError, shown
from htcnns.networks.limits import MOST_HEADER_BYTES

_RESTORE = "Restore the file and its manifest."
_OTHER = "The file belongs to another network or size; correct the manifest."
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
}


def read_tensors(content: bytes, outline: Mapping[str, Tensor], *, place: str) -> dict[str, Tensor]:
    """The tensors of a file, which must be exactly those of the outline, in the file's own precision.

    Args:
        content: bytes of the file.
        outline: tensors with the expected names and shapes; they may be on the device "meta".
        place: the file and member, for the message.

    Raises:
        WeightsError: not a safetensors file; a missing or unexpected tensor, or one of another shape or type; NaN or
            infinity.
    """
    _require_fitting_header(content, outline, place=place)
    try:
        entries: dict[str, Any] = dict(deserialize(content))
    except (SafetensorError, ValueError, OverflowError) as error:
        raise WeightsError(f"not a safetensors file ({error})", place=place, remedy=_RESTORE) from error
    require_names(set(entries), set(outline), place=place, remedy=_OTHER)
    return {name: _tensor(entries[name], tensor, name, place=place) for name, tensor in outline.items()}


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """The bytes of a safetensors file with these tensors, real numbers as float16."""
    return save({name: _halved(tensor.detach().cpu()).contiguous() for name, tensor in tensors.items()})


def require_names(found: set[str], wanted: set[str], *, place: object, remedy: str) -> None:
    """Raise WeightsError unless the names are those of the network; the message gives the first difference.

    Args:
        remedy: advice for the message.
    """
    missing, unexpected = sorted(wanted - found), sorted(found - wanted)
    if missing or unexpected:
        raise WeightsError(
            f"missing {missing[0]}" if missing else f"unexpected {unexpected[0]}",
            place=place,
            found=f"{len(missing)} tensors missing and {len(unexpected)} unexpected",
            remedy=remedy,
        )


def _require_fitting_header(content: bytes, outline: Mapping[str, Tensor], *, place: str) -> None:
    """Raise WeightsError where the header shows other tensors or is too long, before memory for tensors is allocated.

    A malformed header passes: safetensors reports what is wrong with it.
    """
    n_bytes = int.from_bytes(content[:8], "little")
    if MOST_HEADER_BYTES < n_bytes <= len(content):
        raise WeightsError(
            "has too long a header",
            place=place,
            found=f"{n_bytes} bytes",
            expected=f"at most {MOST_HEADER_BYTES}",
            remedy=_RESTORE,
        )
    try:
        header = json.loads(content[8 : 8 + n_bytes]) if n_bytes <= len(content) else None
    except (ValueError, RecursionError):
        return
    if isinstance(header, dict):
        require_names(set(header) - {"__metadata__"}, set(outline), place=place, remedy=_OTHER)
        for name, tensor in outline.items():
            shape = header[name].get("shape") if isinstance(header[name], dict) else None
            if isinstance(shape, list):
                _require_shape(tuple(shape), tensor, name, place=place)


def _require_shape(found: tuple, wanted: Tensor, name: str, *, place: str) -> None:
    """Raise WeightsError unless the tensor has the shape of the network's."""
    if found != wanted.shape:
        raise WeightsError(
            f"{name} has the wrong shape",
            place=place,
            found=shown(found),
            expected=tuple(wanted.shape),
            remedy="The file belongs to another size; correct the manifest.",
        )


def _tensor(entry: Mapping[str, Any], wanted: Tensor, name: str, *, place: str) -> Tensor:
    """One tensor of the file, its shape, type and values checked."""
    shape, dtype = tuple(entry["shape"]), _DTYPES.get(entry["dtype"])
    _require_shape(shape, wanted, name, place=place)
    if dtype is None or dtype.is_floating_point != wanted.is_floating_point():
        kind = "F" if wanted.is_floating_point() else "I"
        raise WeightsError(
            f"{name} has a type that networks do not have",
            place=place,
            found=entry["dtype"],
            expected=f"one of {', '.join(each for each in _DTYPES if kind in each)}",
            remedy="Save the weights in float16 or float32.",
        )
    tensor = torch.frombuffer(entry["data"], dtype=dtype).reshape(shape)
    if not torch.isfinite(tensor.to(wanted.dtype)).all():
        raise WeightsError(
            f"{name} holds NaN or infinity",
            place=place,
            expected="numbers",
            remedy="The training went wrong; train again or use other weights.",
        )
    return tensor


def _halved(tensor: Tensor) -> Tensor:
    """Real numbers as float16; whole numbers, such as the counts of batch normalisation, unchanged."""
    return tensor.half() if tensor.is_floating_point() else tensor
