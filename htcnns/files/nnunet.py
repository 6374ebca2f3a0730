"""What nnU-Net's channel numbers stand for; it differs between data sets, so it is read or told, never guessed."""

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from htcnns.errors import InputError
from htcnns.files.naming import read_channel, read_nnunet
from htcnns.labels import Sequence


def channel_order(folder: Path) -> tuple[Sequence, ...]:
    """The sequences of channels 0000, 0001, … by the `dataset.json` in `folder` or in the one above.

    Raises:
        InputError: no such file, one that cannot be read, or a channel that is none of the four sequences.
    """
    for place in (folder, Path(os.path.abspath(folder)).parent):
        if (place / "dataset.json").is_file():
            return _sequences(place / "dataset.json")
    raise InputError(
        f"{folder}: names such as CASE_0000.nii.gz, but no dataset.json says what 0000 is; it differs between data "
        "sets. Put dataset.json there or give the order, such as t1n,t1c,t2w,t2f."
    )


def read_channels(stems: Iterable[str], order: tuple[Sequence, ...] | None = None) -> dict[str, tuple[str, int]]:
    """Case and channel number of the names that follow nnU-Net's naming, by name.

    A case has several channels, 0000 among them: `dwi_0012` alone is none. Once the `order` is known, a case beside
    others may lack any channel that the order names. What is called as a case is no channel but its mask.
    """
    read = {stem: found for stem in stems if (found := read_nnunet(stem))}
    called_as_cases = _whole(_numbers(read.values()))
    read = {stem: found for stem, found in read.items() if stem not in called_as_cases}
    numbers = _numbers(read.values())
    whole = _whole(numbers)
    incomplete = {case for case, known in numbers.items() if whole and order and max(known) < len(order)}
    return {stem: found for stem, found in read.items() if found[0] in whole | incomplete}


def sequence_of(channel: int, order: tuple[Sequence, ...], *, file: Path) -> Sequence:
    """The sequence of a channel number.

    Raises:
        InputError: a number beyond the order; the message names `file`.
    """
    if channel >= len(order):
        raise InputError(
            f"{file}: channel {channel} has no name; the order given is {', '.join(order)}. "
            "Give an order that names every channel, or take the file away."
        )
    return order[channel]


def _numbers(names: Iterable[tuple[str, int]]) -> dict[str, set[int]]:
    """The channel numbers of each case."""
    numbers: dict[str, set[int]] = defaultdict(set)
    for case, channel in names:
        numbers[case].add(channel)
    return numbers


def _whole(numbers: dict[str, set[int]]) -> set[str]:
    """The cases with several channels, 0000 among them."""
    return {case for case, known in numbers.items() if len(known) > 1 and 0 in known}


def _sequences(path: Path) -> tuple[Sequence, ...]:
    called = _channel_names(path)
    order = {name: read_channel(name) for name in called}
    unknown = [name for name in called if order[name] is None]
    known = tuple(sequence for sequence in map(order.get, called) if sequence is not None)
    if unknown or len(set(known)) < len(known):
        problem = f"unknown channel {', '.join(unknown)}" if unknown else "two channels of one sequence"
        raise InputError(
            f"{path}: {problem}; found {', '.join(called)}, expected names such as T1, T1ce, T2, FLAIR, each once. "
            "Rename them there or give the order yourself."
        )
    return known


def _channel_names(path: Path) -> list[str]:
    """What version 2 calls `channel_names` and version 1 `modality`, in the order of their numbers."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        channels = content.get("channel_names") or content["modality"]
        names = {int(number): str(name) for number, name in channels.items()}
        return [names[number] for number in range(len(names))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: cannot be read as nnU-Net's dataset.json ({type(error).__name__}: {error}); expected "
            'channel_names such as {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"}. Mend it or give the order.'
        ) from error
