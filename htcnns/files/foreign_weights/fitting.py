"""Other people's tensors fitted to one of our networks: none missing, none left over, each of the right shape."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from htcnns.errors import WeightsError
from htcnns.files.tensors import require_names

_WHOLE = "Give a whole checkpoint of the kind that was named."
_LARGEST_HALF = torch.finfo(torch.float16).max  # weights are stored as float16


@dataclass(frozen=True)
class Naming:
    """How a family names and lays out the tensors of one of our networks.

    Attributes:
        theirs: their name for our tensor; None where they lack it, and ours is then zero.
        turned: their tensor in our layout, from our name and the tensor.
        is_unused: whether their tensor with that name has no effect.
    """

    theirs: Callable[[str], str | None]
    turned: Callable[[str, Tensor], Tensor] = lambda _, tensor: tensor
    is_unused: Callable[[str], bool] = lambda _: False


def fitted(
    found: Mapping[str, Tensor], outline: Mapping[str, Tensor], naming: Naming, *, place: object
) -> dict[str, Tensor]:
    """The tensors under our names; float32, or whole numbers where they are counts.

    Args:
        found: their tensors by their names.
        outline: our tensors by our names; they may be on the device "meta".

    Raises:
        WeightsError: a tensor is missing or unexpected, has another shape or type, is not finite, or is too large for
            float16; the message names the first one.
    """
    names = {ours: naming.theirs(ours) for ours in outline}
    wanted = {theirs for theirs in names.values() if theirs is not None}
    used = {name for name in found if not naming.is_unused(name)}
    require_names(used, wanted, place=place, remedy=_WHOLE)
    turned = {ours: naming.turned(ours, found[theirs]) for ours, theirs in names.items() if theirs is not None}
    _require_shapes(turned, outline, names, place=place)
    zeros = {ours: torch.zeros(outline[ours].shape) for ours, theirs in names.items() if theirs is None}
    numbers = {ours: _number(tensor, outline[ours], names[ours], place=place) for ours, tensor in turned.items()}
    return zeros | numbers


def reversed_axes(tensor: Tensor) -> Tensor:
    """A 5-D tensor over (K, J, I) as one over (I, J, K), or the other way round; other tensors unchanged.

    SimpleITK's arrays have their axes in the reverse of our order, and so have networks trained on them.
    """
    return tensor.permute(0, 1, 4, 3, 2) if tensor.ndim == 5 else tensor


def shape_of(found: Mapping[str, Tensor], name: str, *, n_axes: int, place: object) -> tuple[int, ...]:
    """The shape of a tensor that determines the size of the network.

    Raises:
        WeightsError: the tensor is missing or has another number of axes.
    """
    if name not in found:
        raise WeightsError(f"missing {name}", place=place, found=f"{len(found)} other tensors", remedy=_WHOLE)
    if found[name].ndim != n_axes:
        raise WeightsError(
            f"{name} has the wrong shape",
            place=place,
            found=tuple(found[name].shape),
            expected=f"{n_axes} axes",
            remedy=_WHOLE,
        )
    return tuple(found[name].shape)


def _require_shapes(
    turned: Mapping[str, Tensor], outline: Mapping[str, Tensor], names: Mapping[str, str | None], *, place: object
) -> None:
    """Raise WeightsError unless every tensor has the network's shape; the message names the first that does not."""
    others = [ours for ours, tensor in turned.items() if tensor.shape != outline[ours].shape]
    if others:
        raise WeightsError(
            f"{names[others[0]]} and {len(others) - 1} other tensors have the wrong shape",
            place=place,
            found=tuple(turned[others[0]].shape),
            expected=tuple(outline[others[0]].shape),
            remedy="Give weights that match the network's size.",
        )


def _number(tensor: Tensor, wanted: Tensor, name: str | None, *, place: object) -> Tensor:
    """One tensor, checked, as float32; counts as whole numbers of the network's type."""
    if tensor.is_floating_point() != wanted.is_floating_point() or tensor.dtype is torch.bool:
        raise WeightsError(
            f"{name} has the wrong type",
            place=place,
            found=str(tensor.dtype),
            expected="real numbers" if wanted.is_floating_point() else "whole numbers",
            remedy=_WHOLE,
        )
    if not wanted.is_floating_point():
        return tensor.to(wanted.dtype)
    numbers = tensor.float().contiguous()
    if not numbers.isfinite().all() or (numbers.numel() and numbers.abs().max() > _LARGEST_HALF):
        raise WeightsError(
            f"{name} holds NaN, infinity or a number beyond float16",
            place=place,
            expected=f"numbers up to {_LARGEST_HALF:.0f}",
            remedy="The training went wrong; use other weights.",
        )
    return numbers
