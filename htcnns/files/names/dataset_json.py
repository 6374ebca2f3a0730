"""nnU-Net's file names and channels; what a channel number means differs between data sets, so it is never guessed.

Source: nnU-Net's dataset format, versions 1 and 2.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from types import MappingProxyType

from htcnns.errors import InputError
from htcnns.files.json_file import read_json
from htcnns.files.names.words import FREE_SPELLINGS, letters
from htcnns.files.places import is_file
from htcnns.labels import Sequence

_NAME = re.compile(r"(.+)_(00\d\d)", re.DOTALL)  # four digits, but never a year
_CHANNELS = MappingProxyType(
    {
        **FREE_SPELLINGS,
        **dict.fromkeys(("t1w", "t1native", "t1pre", "t1wpre"), Sequence.T1N),
        **dict.fromkeys(("t1wc", "t1wce", "t1wgd", "t1wpost", "t1cw", "t1cew", "t1gdw", "t1km"), Sequence.T1C),
        **dict.fromkeys(("t1contrast", "t1postcontrast", "t1contrastenhanced"), Sequence.T1C),
        **dict.fromkeys(("t1wcontrast", "t1wpostcontrast", "t1wcontrastenhanced"), Sequence.T1C),
        **dict.fromkeys(("t2wflair", "flairt2"), Sequence.T2F),
    }
)


def read_nnunet(stem: str) -> tuple[str, int] | None:
    """Case and channel number of an nnU-Net scan such as `CASE_0003`; None for any other name."""
    match = _NAME.fullmatch(stem)
    return (match[1], int(match[2])) if match else None


def read_channels(stems: Iterable[str], order: tuple[Sequence, ...] | None = None) -> dict[str, tuple[str, int]]:
    """Case and channel number of the names that follow nnU-Net's naming, by name.

    A case has several channels, 0000 among them: `dwi_0012` alone is not an nnU-Net scan. If the `order` is known, a
    case beside such cases may lack any channel of the order. A file with the name of a case is its mask.
    """
    read = {stem: found for stem in stems if (found := read_nnunet(stem))}
    named_as_cases = _whole(_numbers(read.values()))
    read = {stem: found for stem, found in read.items() if stem not in named_as_cases}
    numbers = _numbers(read.values())
    whole = _whole(numbers)
    incomplete = {case for case, known in numbers.items() if whole and order and max(known) < len(order)}
    cases = whole | incomplete
    return {stem: found for stem, found in read.items() if found[0] in cases}


def channel_order(folder: Path) -> tuple[Sequence, ...]:
    """The sequences of channels 0000, 0001, … according to the `dataset.json` in `folder` or in the one above.

    Raises:
        InputError: there is no such file, it cannot be read, or its channels are not some of the four sequences.
    """
    for place in (folder, Path(os.path.abspath(folder)).parent):
        if is_file(place / "dataset.json"):
            return sequences_of(place / "dataset.json", setting="channels")
    raise InputError(
        "names such as CASE_0000.nii.gz, but no dataset.json says what 0000 is, which differs between data sets",
        place=folder,
        setting="channels",
        remedy="Put dataset.json there or give the order, such as t1n,t1c,t2w,t2f.",
    )


def sequences_of(path: Path, *, setting: str = "") -> tuple[Sequence, ...]:
    """The order of channels that a dataset.json describes.

    Args:
        setting: setting that can give the order instead, for the message; "" where none can.

    Raises:
        InputError: the file cannot be read, or its channels are not some of the four sequences, each once.
    """
    names = _channel_names(path, setting)
    order = {name: read_channel(name) for name in names}
    unknown = [name for name in names if order[name] is None]
    known = tuple(sequence for sequence in map(order.get, names) if sequence is not None)
    if unknown or len(set(known)) < len(known):
        raise InputError(
            f"unknown channel {', '.join(unknown)}" if unknown else "two channels of one sequence",
            place=path,
            setting=setting,
            found=", ".join(names),
            expected="names such as T1, T1ce, T2, FLAIR, each once",
            remedy="Rename them there or give the order of the channels yourself.",
        )
    return known


def sequence_of(channel: int, order: tuple[Sequence, ...], *, file: Path) -> Sequence:
    """The sequence of a channel number.

    Args:
        file: the scan, named in the message.

    Raises:
        InputError: a number beyond the order.
    """
    if channel >= len(order):
        raise InputError(
            f"channel {channel} has no name",
            place=file,
            setting="channels",
            found=f"the order {', '.join(order)}",
            expected=f"a name for each channel up to {channel}",
            remedy="Give an order that names every channel, or move the file away.",
        )
    return order[channel]


def read_channel(name: str) -> Sequence | None:
    """The sequence that a channel's name in nnU-Net means, such as `T1-weighted` or `T1Gd`; None if unknown."""
    bare = letters(name).replace("weighted", "w")
    return _CHANNELS.get(re.sub(r"^mri?|mri?$|image$", "", bare))


def channel_endings(order: tuple[Sequence, ...]) -> dict[Sequence, str]:
    """The part of a scan's name between the case's name and `.nii.gz`, for each sequence of an order of channels."""
    return {sequence: f"_{number:04d}" for number, sequence in enumerate(order)}


def _numbers(names: Iterable[tuple[str, int]]) -> dict[str, set[int]]:
    """The channel numbers of each case."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for case, channel in names:
        numbers[case].add(channel)
    return numbers


def _whole(numbers: dict[str, set[int]]) -> set[str]:
    """The cases with several channels, 0000 among them."""
    return {case for case, known in numbers.items() if len(known) > 1 and 0 in known}


def _channel_names(path: Path, setting: str) -> list[str]:
    """The names of the channels in the order of their numbers: version 2's `channel_names`, version 1's `modality`."""
    content = read_json(path)
    try:
        channels = content.get("channel_names") or content["modality"]
        names = {int(number): str(name) for number, name in channels.items()}
        return [names[number] for number in range(len(names))]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"cannot be read as nnU-Net's dataset.json ({type(error).__name__}: {error})",
            place=path,
            setting=setting,
            expected='channel_names such as {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"}',
            remedy="Fix it or give the order of the channels yourself.",
        ) from error
