"""Where windows lie, how they are weighted and joined, and the mirrored passes.

Positions, weights and padding follow MONAI's `sliding_window_inference(mode="gaussian")`, as the tests check.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from htcnns.volume import Box, Shape

Start = tuple[int, int, int]
Forward = Callable[[Tensor], Tensor]
OnWindow = Callable[[int, int], None]

MIRROR_AXES = "ijk"  # left-right, front-back, up-down
SIGMA_PER_SIZE = 0.125  # MONAI's sigma_scale, nnU-Net's too
SMALLEST_WEIGHT = 1e-3  # MONAI's floor, which keeps the division safe in corners that only one window covers


def mirror_axes(letters: str) -> tuple[int, ...]:
    """The axes of (I, J, K) named by letters of MIRROR_AXES.

    Raises:
        ValueError: an unknown or a repeated letter.
    """
    if set(letters) - set(MIRROR_AXES) or len(set(letters)) < len(letters):
        raise ValueError(f"{letters!r} names no axes")
    return tuple(MIRROR_AXES.index(letter) for letter in letters)


@dataclass(frozen=True)
class Windows:
    """How an image is cut into windows.

    Attributes:
        shape: (I, J, K) of the image.
        size: shape of each window.
        starts: first voxel of every window in the image padded to at least `size`; K varies fastest.
    """

    shape: Shape
    size: Shape
    starts: tuple[Start, ...]


def place_windows(shape: Shape, size: Shape, *, overlap: float, occupied: Tensor | None = None) -> Windows:
    """The windows over an image, without those that contain no occupied voxel.

    Windows are `int(size * (1 - overlap))` voxels apart, at least one; the last along each axis is moved inside.

    Args:
        shape: (I, J, K) of the image; an axis shorter than the window counts as one window long, as `slide` pads it.
        overlap: overlap between windows, 0 <= overlap < 1; 0.6 is the paper's.
        occupied: (I, J, K) bool; None keeps every window.
    """
    lengths = [max(length, edge) for length, edge in zip(shape, size, strict=True)]
    i, j, k = (_axis_starts(length, edge, overlap) for length, edge in zip(lengths, size, strict=True))
    starts = tuple(itertools.product(i, j, k))
    if occupied is not None:
        padded = _pad(occupied, size)
        starts = tuple(start for start in starts if padded[_place(start, size)].any())
    return Windows(shape, size, starts)


def gaussian_weights(size: Shape, *, device: torch.device | str = "cpu") -> Tensor:
    """Weight of each voxel of a window, float32 of shape `size`: 1 in the middle and at least 0.001 at the corners."""
    i, j, k = (_gaussian(length, device) for length in size)
    return (i[:, None, None] * j[:, None] * k).clamp_(min=SMALLEST_WEIGHT)


def slide(
    network: Forward,
    x: Tensor,
    windows: Windows,
    *,
    mirror_axes: tuple[int, ...] = (),
    batch: int = 1,
    on_window: OnWindow | None = None,
) -> Tensor:
    """The weighted mean of what the network returns for every window.

    Sums are float32 whatever the precision of the network: at overlap 0.6 no voxel sums more than 4 * 4 * 4 values, too
    few for float32 to drift by more than about 1e-6. Windows are added in a fixed order, so two runs are bit-identical.
    Memory beyond the result is one (I, J, K) map of weights and one batch; `x` is only copied if it is padded.

    Args:
        network: function from (B, C, *size) to (B, R, *size), B at most `batch`; its output is averaged unchanged.
        x: (C, I, J, K) on the network's device; an axis shorter than the window's is padded with zeros on both sides.
        mirror_axes: axes of (I, J, K) to mirror; the network runs on all 2^n combinations, which are averaged.
        batch: number of windows in one forward pass.
        on_window: called with (windows done, windows to do) after each batch.

    Returns:
        (R, I, J, K) float32 on x's device; 0 outside all windows. Leaving empty windows out changes no occupied voxel.

    Raises:
        ValueError: there is no window.
    """
    if not windows.starts:
        raise ValueError("slide: no window holds an occupied voxel; refuse empty images before they come here")
    forward = partial(_mirrored_mean, network, mirror_axes)
    joined = _run_and_join(forward, _pad(x, windows.size), windows, batch, on_window)
    before, _ = _missing(windows.shape, windows.size)
    return joined[(slice(None), *(slice(b, b + n) for b, n in zip(before, windows.shape, strict=True)))]


def _run_and_join(forward: Forward, x: Tensor, windows: Windows, batch: int, on_window: OnWindow | None) -> Tensor:
    """(R, I, J, K) weighted mean over the windows of a padded x; 0 outside all windows."""
    weights = gaussian_weights(windows.size, device=x.device)
    covered = torch.zeros(x.shape[1:], device=x.device)
    sums = torch.empty(0)
    for first in range(0, len(windows.starts), batch):
        places = [_place(start, windows.size) for start in windows.starts[first : first + batch]]
        stack = torch.stack([x[(slice(None), *place)] for place in places])  # (B, C, *size)
        values = forward(stack)  # (B, R, *size)
        if first == 0:
            sums = torch.zeros((values.shape[1], *x.shape[1:]), device=x.device)
        for place, value in zip(places, values, strict=True):
            sums[(slice(None), *place)].addcmul_(value, weights)
            covered[place] += weights
        if on_window is not None:
            on_window(first + len(places), len(windows.starts))
    return sums.div_(covered.clamp_(min=SMALLEST_WEIGHT))  # every covered voxel has at least this weight


def _mirrored_mean(network: Forward, mirror_axes: tuple[int, ...], windows: Tensor) -> Tensor:
    """(B, R, *size) float32 mean over all combinations of mirrored axes, each flipped back."""
    total = network(windows).float()
    for n_axes in range(1, len(mirror_axes) + 1):
        for axes in itertools.combinations(mirror_axes, n_axes):
            dims = [axis + 2 for axis in axes]
            total = total + network(windows.flip(dims)).float().flip(dims)
    return total / 2 ** len(mirror_axes)


def _axis_starts(length: int, size: int, overlap: float) -> list[int]:
    """Starts along one axis, the last one moved inside the image."""
    interval = max(int(size * (1 - overlap)), 1)
    last = length - size
    return [*range(0, last, interval), last]


def _place(start: Start, size: Shape) -> Box:
    """The window at `start` as slices of (I, J, K)."""
    i, j, k = (slice(s, s + n) for s, n in zip(start, size, strict=True))
    return i, j, k


def _missing(shape: Shape, size: Shape) -> tuple[list[int], list[int]]:
    """Padding before and after that makes each axis at least a window long; an odd voxel goes after, as in MONAI."""
    lacks = [max(n - length, 0) for length, n in zip(shape, size, strict=True)]
    return [lack // 2 for lack in lacks], [lack - lack // 2 for lack in lacks]


def _pad(x: Tensor, size: Shape) -> Tensor:
    """(…, I, J, K) padded with zeros to at least the window's size; the tensor itself if no padding is needed."""
    before, after = _missing((x.shape[-3], x.shape[-2], x.shape[-1]), size)
    if not any(after):
        return x
    last_axis_first = [n for pair in reversed(list(zip(before, after, strict=True))) for n in pair]
    return nn.functional.pad(x, last_axis_first)


def _gaussian(length: int, device: torch.device | str) -> Tensor:
    """(length,) float32 bell curve around the middle, 1 at its top."""
    offset = torch.arange(length, dtype=torch.float32, device=device) - (length - 1) / 2
    return torch.exp(-0.5 * (offset / (SIGMA_PER_SIZE * length)) ** 2)
