"""What weights from elsewhere may ask for: every limit on a manifest and its files, and the check of a network's size.

A manifest is a few lines of text that decide how much memory and time a run takes. The published sizes stay well
below each limit; what lies above is a mistake or an attack, and is refused before anything is allocated.
"""

from collections.abc import Mapping, Sequence
from math import prod

from htcnns.errors import SettingsError, require_known, shown
from htcnns.networks.contract import each_axis
from htcnns.volume import Shape

MOST_MANIFEST_BYTES = 2**24
MOST_FILE_BYTES = 2**29  # of one weights file: MOST_PARAMETERS as float16
MOST_FOREIGN_BYTES = 2**31  # of one checkpoint from elsewhere; nnU-Net's largest has 0.8 GB with its optimizer's state
MOST_TENSORS = 2**12  # in one such checkpoint; nnU-Net's with a residual encoder has 1,670, copies included
LONGEST_TENSOR_NAME = 200  # characters
MOST_HEADER_BYTES = 2**20  # of one weights file; the published networks have 39 KiB at most
MOST_SET_BYTES = 2**31  # of all files of the members that run together
MOST_PARAMETERS = 2**28  # the largest published network has 102 million
MOST_MEMBERS = 64
MOST_FOLDS = 64
LARGEST_EDGE = 512  # of a window or box, in voxels
MOST_WINDOW_VOXELS = 2**23  # about 203 cubed; the paper's largest box has 6.9 million
LARGEST_WIDTH = 4096  # of channels, tokens and hidden layers; as wide as the widest published one
LARGEST_HEADS = 64  # of attention; the published networks have 32 at most
LARGEST_ATTENDED = 8  # edge of the cubes that attention is limited to; a table grows with its sixth power
MOST_VALUES = 2**30  # of one layer at full resolution; the published networks have 2**28.3 in the paper's box
MOST_PAIRS = 2**30  # of voxels that attend to each other in cubes, over all heads; Swin UNETR has 2**29.7 in that box
MOST_TOKENS = 2**15  # that attend to each other; TransBTS has 13,440 in the paper's box
LARGEST_DEPTH = 64  # layers, blocks or convolutions at one resolution
MOST_RESOLUTIONS = 8

_DEPTHS = {
    "n_convs": 1,
    "n_convs_up": 1,
    "blocks": 0,
    "blocks_up": 0,
    "layers": 0,
    "halvings": 0,
}  # counts, with the smallest allowed value of each
_LARGEST = dict.fromkeys(_DEPTHS, LARGEST_DEPTH) | {"heads": LARGEST_HEADS, "attended": LARGEST_ATTENDED}


def require_edges(shape: Shape, *, what: str, remedy: str = "Correct the manifest.") -> None:
    """Raise SettingsError if a window or box has longer edges or more voxels than any run could handle."""
    if max(shape) > LARGEST_EDGE or prod(shape) > MOST_WINDOW_VOXELS:
        raise SettingsError(
            f"{what} is too large to fit in memory",
            found=shown(list(shape)),
            expected=f"edges of at most {LARGEST_EDGE} and {MOST_WINDOW_VOXELS / 1e6:.1f} million voxels",
            remedy=remedy,
        )


def require_work(size: Mapping, window: Shape, *, multiple: int | Shape) -> None:
    """Raise SettingsError if one window would be too much work for a network of that size.

    Args:
        multiple: factor by which its deepest resolution is smaller, or one per axis.
    """
    multiples = each_axis(multiple)
    n_values = size["channels"][0] * prod(window)
    if n_values > MOST_VALUES:
        raise _impossible("channels", f"{n_values / 1e6:.0f} million values at full resolution", _most(MOST_VALUES))
    n_tokens = prod(edge // m for edge, m in zip(window, multiples, strict=True)) if "embedding" in size else 0
    if n_tokens > MOST_TOKENS:
        raise _impossible(
            "channels", f"{n_tokens} tokens in a window", f"at most {MOST_TOKENS}, so use more resolutions"
        )
    n_pairs = _most_pairs(size["heads"], size["attended"], prod(window)) if "attended" in size else 0
    if n_pairs > MOST_PAIRS:
        raise _impossible("heads", f"{n_pairs / 1e6:.0f} million pairs of voxels in a window", _most(MOST_PAIRS))


def _most_pairs(heads: Sequence[int], attended: int, n_voxels: int) -> int:
    """Pairs of voxels that the heads of the largest layer compare; the first layer is at half resolution."""
    return max((n * attended**3 * n_voxels // 8**s for s, n in enumerate(heads, start=1)), default=0)


def _most(number: int) -> str:
    return f"at most {number / 1e6:.0f} million"


def require_size(size: Mapping, published: Mapping) -> None:
    """Raise SettingsError unless the arguments of a network are known, of the right type, and not too large.

    Args:
        published: all existing arguments with their published values, which determine the type of each.
    """
    for key, value in size.items():
        require_known(key, published, what="argument", setting="size")
        values = list(value) if isinstance(value, list | tuple) else [value]
        if len(values) > MOST_RESOLUTIONS:
            raise _impossible(key, f"{len(values)} values", f"at most {MOST_RESOLUTIONS}")
        if isinstance(published[key], bool):
            _require_switch(key, value)
        elif not isinstance(published[key], str | float):
            for each in values:
                _require_number(key, each)
    if not isinstance(size.get("channels", ()), list | tuple) or len(size.get("channels", (1, 1))) < 2:
        raise _impossible("channels", shown(size["channels"]), "at least two resolutions")


def _require_switch(key: str, value: object) -> None:
    """Raise SettingsError unless a switch is true or false."""
    if type(value) is not bool:
        raise _impossible(key, shown(value), "true or false")


def _require_number(key: str, value: object) -> None:
    """Raise SettingsError unless the value is a whole number in its range."""
    low, high = _DEPTHS.get(key, 1), _LARGEST.get(key, LARGEST_WIDTH)
    if type(value) is not int or not low <= value <= high:
        raise _impossible(key, shown(value), f"whole numbers from {low} to {high}")


def _impossible(key: str, found: object, expected: str) -> SettingsError:
    return SettingsError(
        f"impossible {key}", setting="size", found=found, expected=expected, remedy="Correct the manifest."
    )
