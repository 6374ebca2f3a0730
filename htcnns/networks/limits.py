"""What weights from elsewhere may ask for: every limit on a manifest and its files, and the check of a network's size.

A manifest is a few lines of text that decide how much memory and time a run takes. The published sizes stay well
below each limit; what lies above is a mistake or an attack, and is refused before anything is allocated.
"""

from collections.abc import Mapping

from htcnns.errors import SettingsError, require_known, shown

MOST_MANIFEST_BYTES = 2**24
MOST_FILE_BYTES = 2**29  # of one weights file: MOST_PARAMETERS as float32
MOST_PARAMETERS = 2**27  # the largest published network has 51 million
MOST_MEMBERS = 64
MOST_FOLDS = 64
MOST_WINDOW_VOXELS = 2**23  # about 203 cubed; the paper's largest box has 6.9 million
LARGEST_WIDTH = 4096  # of channels, tokens and hidden layers; the widest published one
LARGEST_DEPTH = 64  # layers, blocks or convolutions at one resolution
MOST_RESOLUTIONS = 8

_DEPTHS = {"n_convs": 1, "blocks": 0, "layers": 0}  # arguments that count layers, and how few there may be


def require_size(size: Mapping, published: Mapping) -> None:
    """Raise SettingsError unless the arguments of a network are known, of kinds that networks take, and not too large.

    Args:
        published: the same arguments in the published size, which say what kind each is.
    """
    for key, value in size.items():
        require_known(key, published, what="argument", setting="size")
        values = list(value) if isinstance(value, list | tuple) else [value]
        if len(values) > MOST_RESOLUTIONS:
            raise _impossible(key, f"{len(values)} values", f"at most {MOST_RESOLUTIONS}")
        for each in values if not isinstance(published[key], str | float) else ():
            _require_number(key, each)
    if not isinstance(size.get("channels", ()), list | tuple) or len(size.get("channels", (1, 1))) < 2:
        raise _impossible("channels", shown(size["channels"]), "at least two resolutions")


def _require_number(key: str, value: object) -> None:
    """Raise SettingsError where a whole number is none or out of range."""
    low, high = _DEPTHS.get(key, 1), LARGEST_DEPTH if key in _DEPTHS else LARGEST_WIDTH
    if type(value) is not int or not low <= value <= high:
        raise _impossible(key, shown(value), f"whole numbers from {low} to {high}")


def _impossible(key: str, found: object, expected: str) -> SettingsError:
    return SettingsError(
        f"impossible {key}", setting="size", found=found, expected=expected, remedy="Correct the manifest."
    )
