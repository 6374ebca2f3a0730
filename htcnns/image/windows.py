"""Where windows lie, how they are weighted and joined, and the mirrored passes.

Positions, weights and padding follow MONAI's `sliding_window_inference(mode="gaussian")`, to which the tests compare.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from htcnns.errors import SettingsError

Start = tuple[int, int, int]
Network = Callable[[Tensor], Tensor]

SIGMA_PER_SIZE = 0.125  # MONAI's sigma_scale, nnU-Net's too
SMALLEST_WEIGHT = 1e-3  # MONAI's floor: a corner that only one window covers still divides well


@dataclass(frozen=True)
class WindowSettings:
    """How an image is cut into windows and joined again.

    Attributes:
        size: voxels along I, J, K that the network sees at once.
        overlap: share of a window that the next one covers again, 0 <= overlap < 1; 0.6 is the paper's.
        mirror_axes: axes of (I, J, K) to mirror; the network runs on all 2^n combinations, and their mean counts.
        batch: windows that go through the network together.
        skip_empty: leave out windows without an occupied voxel.

    Raises:
        SettingsError: a value outside these limits.
    """

    size: tuple[int, int, int] = (128, 128, 128)
    overlap: float = 0.6
    mirror_axes: tuple[int, ...] = ()
    batch: int = 1
    skip_empty: bool = True

    def __post_init__(self) -> None:
        _require(len(self.size) == 3 and min(self.size) >= 1, "size", self.size, "three whole numbers of at least 1")
        _require(0 <= self.overlap < 1, "overlap", self.overlap, "a number from 0 up to, but not including, 1")
        axes = self.mirror_axes
        _require({*axes} <= {0, 1, 2} and len({*axes}) == len(axes), "mirror_axes", axes, "some of 0, 1, 2, each once")
        _require(self.batch >= 1, "batch", self.batch, "at least 1")


class WindowCount(NamedTuple):
    """How many windows an image takes, for an estimate of the time."""

    n_run: int
    n_skipped: int


def window_starts(shape: tuple[int, int, int], settings: WindowSettings) -> list[Start]:
    """The first voxel of every window over an image, K fastest.

    Windows stand `int(size * (1 - overlap))` voxels apart, at least one; the last of each axis is moved inside.

    Args:
        shape: (I, J, K) of the image; an axis shorter than the window counts as long as it, as `slide` pads it.
    """
    lengths = [max(length, size) for length, size in zip(shape, settings.size, strict=True)]
    i, j, k = (_axis_starts(n, size, settings.overlap) for n, size in zip(lengths, settings.size, strict=True))
    return list(itertools.product(i, j, k))


def count_windows(
    shape: tuple[int, int, int], settings: WindowSettings, *, occupied: Tensor | None = None
) -> WindowCount:
    """How many windows `slide` runs and skips for an image of that shape; `occupied` as there."""
    n_run = len(_starts_to_run(shape, settings, occupied))
    return WindowCount(n_run, len(window_starts(shape, settings)) - n_run)


def gaussian_weights(size: tuple[int, int, int], *, device: torch.device | str = "cpu") -> Tensor:
    """`size` float32: how much each voxel of a window counts, 1 in the middle and at least 0.001 at the corners."""
    i, j, k = (_gaussian(length, device) for length in size)
    return (i[:, None, None] * j[:, None] * k).clamp_(min=SMALLEST_WEIGHT)


def slide(
    network: Network,
    x: Tensor,
    settings: WindowSettings,
    *,
    occupied: Tensor | None = None,
    on_window: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The weighted mean of what the network says in every window.

    Sums are float32 whatever the precision of the network: at overlap 0.6 no voxel gathers more than 4 * 4 * 4 values,
    too few for float32 to drift by more than about 1e-6. Windows are added in a fixed order, so two runs agree to the
    bit. Besides the result there is one (I, J, K) map of weights and one batch; `x` is only copied when padded.

    Args:
        network: (B, C, *size) to (B, R, *size), B at most `settings.batch`; what it gives is averaged as it is.
        x: (C, I, J, K) on the network's device; an axis shorter than the window's is padded with zeros on both sides.
        occupied: (I, J, K) bool on the same device; windows without a True are skipped if the settings say so.
        on_window: told (windows done, windows to do) after each batch.

    Returns:
        (R, I, J, K) float32 on x's device; 0 where every window was skipped. Skipping changes no occupied voxel.

    Raises:
        ValueError: nothing is occupied, so no window would run.
    """
    shape = (x.shape[1], x.shape[2], x.shape[3])
    starts = _starts_to_run(shape, settings, occupied)
    if not starts:
        raise ValueError("slide: no window holds an occupied voxel; refuse empty images before they come here")
    joined = _run_and_join(network, _pad(x, settings.size), starts, settings, on_window)
    before, _ = _missing(shape, settings.size)
    return joined[(slice(None), *(slice(b, b + n) for b, n in zip(before, shape, strict=True)))]


def _run_and_join(
    network: Network, x: Tensor, starts: list[Start], settings: WindowSettings, on_window: Callable | None
) -> Tensor:
    """(R, I, J, K) weighted mean over the windows at `starts`; 0 where there is none."""
    weights = gaussian_weights(settings.size, device=x.device)
    covered = torch.zeros(x.shape[1:], device=x.device)
    sums = torch.empty(0)
    for first in range(0, len(starts), settings.batch):
        places = [_place(start, settings.size) for start in starts[first : first + settings.batch]]
        windows = torch.stack([x[(slice(None), *place)] for place in places])  # (B, C, *size)
        values = _mirrored_mean(network, windows, settings.mirror_axes)  # (B, R, *size)
        if first == 0:
            sums = torch.zeros((values.shape[1], *x.shape[1:]), device=x.device)
        for place, value in zip(places, values, strict=True):
            sums[(slice(None), *place)].addcmul_(value, weights)
            covered[place] += weights
        if on_window is not None:
            on_window(first + len(places), len(starts))
    return sums.div_(covered.clamp_(min=SMALLEST_WEIGHT))  # no covered voxel weighs less


def _mirrored_mean(network: Network, windows: Tensor, mirror_axes: tuple[int, ...]) -> Tensor:
    """(B, R, *size) float32 mean over all combinations of mirrored axes, each turned back."""
    total = network(windows).float()
    for n_axes in range(1, len(mirror_axes) + 1):
        for axes in itertools.combinations(mirror_axes, n_axes):
            dims = [axis + 2 for axis in axes]
            total = total + network(windows.flip(dims)).float().flip(dims)
    return total / 2 ** len(mirror_axes)


def _starts_to_run(shape: tuple[int, int, int], settings: WindowSettings, occupied: Tensor | None) -> list[Start]:
    """The starts of the windows that are not skipped."""
    starts = window_starts(shape, settings)
    if occupied is None or not settings.skip_empty:
        return starts
    padded = _pad(occupied, settings.size)
    return [start for start in starts if padded[_place(start, settings.size)].any()]


def _axis_starts(length: int, size: int, overlap: float) -> list[int]:
    """Starts along one axis, the last one moved inside."""
    interval = max(int(size * (1 - overlap)), 1)
    last = length - size
    return [*range(0, last, interval), last]


def _place(start: Start, size: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    """The window at `start` as slices of (I, J, K)."""
    i, j, k = (slice(s, s + n) for s, n in zip(start, size, strict=True))
    return i, j, k


def _missing(shape: tuple[int, int, int], size: tuple[int, int, int]) -> tuple[list[int], list[int]]:
    """Voxels that each axis lacks to be a window long, before and after; an odd one goes after, as in MONAI."""
    lacks = [max(n - length, 0) for length, n in zip(shape, size, strict=True)]
    return [lack // 2 for lack in lacks], [lack - lack // 2 for lack in lacks]


def _pad(x: Tensor, size: tuple[int, int, int]) -> Tensor:
    """(…, I, J, K) with zeros around it, at least a window long; the tensor itself where nothing is missing."""
    before, after = _missing((x.shape[-3], x.shape[-2], x.shape[-1]), size)
    if not any(after):
        return x
    last_axis_first = [n for pair in reversed(list(zip(before, after, strict=True))) for n in pair]
    return nn.functional.pad(x, last_axis_first)


def _gaussian(length: int, device: torch.device | str) -> Tensor:
    """(length,) float32 bell around the middle, 1 at its top."""
    offset = torch.arange(length, dtype=torch.float32, device=device) - (length - 1) / 2
    return torch.exp(-0.5 * (offset / (SIGMA_PER_SIZE * length)) ** 2)


def _require(fine: bool, name: str, found: object, expected: str) -> None:
    """Raise SettingsError unless the setting is fine."""
    if not fine:
        raise SettingsError(f"window settings: {name} is {found}; expected {expected}. Change {name}.")
