"""Tensors under other names put into one of our networks: none missing, none left over, each of its shape."""

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
        theirs: their name of our tensor; None where they have none, which is then zero.
        turned: their tensor as ours, by our name.
        is_unused: whether a tensor of theirs does nothing.
    """

    theirs: Callable[[str], str | None]
    turned: Callable[[str, Tensor], Tensor] = lambda _, tensor: tensor
    is_unused: Callable[[str], bool] = lambda _: False


def fitted(
    found: Mapping[str, Tensor], outline: Mapping[str, Tensor], naming: Naming, *, place: object
) -> dict[str, Tensor]:
    """The tensors under our names, float32 and counts.

    Args:
        found: theirs by their names.
        outline: ours, which may lie on the device "meta".

    Raises:
        WeightsError: a tensor too many or too few, of another shape or type, NaN, or too large for float16; the first
            one is named, and how many there are.
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
    """A kernel over (K, J, I) as one over (I, J, K), and the other way round; other tensors as they are.

    What SimpleITK reads has its axes in the other order than ours, and so has all that is trained on it.
    """
    return tensor.permute(0, 1, 4, 3, 2) if tensor.ndim == 5 else tensor


def shape_of(found: Mapping[str, Tensor], name: str, *, n_axes: int, place: object) -> tuple[int, ...]:
    """The shape of a tensor that decides on a network's size.

    Raises:
        WeightsError: it is missing or has another number of axes.
    """
    if name not in found:
        raise WeightsError(f"missing {name}", place=place, found=f"{len(found)} others", remedy=_WHOLE)
    if found[name].ndim != n_axes:
        raise WeightsError(
            f"another shape of {name}",
            place=place,
            found=tuple(found[name].shape),
            expected=f"{n_axes} axes",
            remedy=_WHOLE,
        )
    return tuple(found[name].shape)


def _require_shapes(
    turned: Mapping[str, Tensor], outline: Mapping[str, Tensor], names: Mapping[str, str | None], *, place: object
) -> None:
    """Raise WeightsError unless every tensor has the network's shape; the first that does not is named."""
    others = [ours for ours, tensor in turned.items() if tensor.shape != outline[ours].shape]
    if others:
        raise WeightsError(
            f"another shape of {names[others[0]]}, and of {len(others) - 1} other tensors",
            place=place,
            found=tuple(turned[others[0]].shape),
            expected=tuple(outline[others[0]].shape),
            remedy="Give weights of a network of the size that they say.",
        )


def _number(tensor: Tensor, wanted: Tensor, name: str | None, *, place: object) -> Tensor:
    """One tensor in our precision, checked; counts are whole numbers."""
    if tensor.is_floating_point() != wanted.is_floating_point() or tensor.dtype is torch.bool:
        raise WeightsError(
            f"{name} has another type",
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
