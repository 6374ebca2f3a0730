"""What the names in nnU-Net's dataset.json mean: sequences of the input channels, labels or regions of the outputs."""

from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from htcnns.errors import InputError, WeightsError, shown
from htcnns.files.foreign_weights.fields import field
from htcnns.files.names.dataset_json import sequences_of
from htcnns.files.names.words import letters
from htcnns.labels import REGION_SETS, Label, Region, RegionSet, Sequence
from htcnns.networks.contract import Head

_T = TypeVar("_T", Label, Region)
Outputs = tuple[RegionSet, Head, tuple[Region, ...] | tuple[Label, ...]]

_TISSUES = {  # names of a label and of the region of that label alone; the spelling is American
    Label.ET: ("et", "enhancing", "enhancingtumor", "enhancingtissue"),
    Label.NCR: (
        *("ncr", "netc", "net", "ncrnet", "necrosis", "necrotic", "necroticcore", "necrotictumorcore"),
        *("nonenhancing", "nonenhancingtumor", "nonenhancingtumorcore"),
    ),
    Label.ED: ("ed", "edema", "peritumoraledema", "snfh"),
    Label.RC: ("rc", "cavity", "resectioncavity"),
    Label.CC: ("cc", "cyst", "cystic", "cysticcomponent"),
}
_LABELS: Mapping[str, Label] = MappingProxyType({word: label for label, words in _TISSUES.items() for word in words})
_OF_ONE_LABEL = {region.value[0]: region for region in Region if len(region.value) == 1}
_REGIONS: Mapping[str, Region] = MappingProxyType(
    {
        **{word: _OF_ONE_LABEL[label] for word, label in _LABELS.items()},
        **dict.fromkeys(("wt", "whole", "wholetumor"), Region.WT),
        **dict.fromkeys(("tc", "core", "tumorcore"), Region.TC),
    }
)
_NOT_GIVEN = ("background", "ignore")  # entries that have no region


def sequences_in(path: Path) -> tuple[Sequence, ...]:
    """The sequences of the network's input channels, in its order.

    Raises:
        WeightsError: the file cannot be read, or its channels are not some of the four sequences, each once.
    """
    try:
        return sequences_of(path)
    except InputError as error:
        remedy = "Restore or correct the file. Only networks on T1, T1ce, T2 and FLAIR can be used."
        raise error.inside(kind=WeightsError, remedy=remedy) from error


def outputs_in(dataset: Mapping, *, place: object) -> Outputs:
    """What the network's outputs are: regions under a sigmoid where any joins several labels, else all labels.

    Raises:
        WeightsError: unknown names, or numbers that contradict the names.
    """
    entries = field(dataset, "labels", dict, place=place)
    numbers = {name: _numbers(name, value, place) for name, value in entries.items()}
    if numbers.get("background") != (0,):
        raise _wrong("number of the background", entries.get("background", "missing"), expected="0", place=place)
    if any(len(each) > 1 for each in numbers.values()):
        return _regions(numbers, place)
    return _labels(numbers, place)


def _regions(numbers: Mapping[str, tuple[int, ...]], place: object) -> Outputs:
    """Regions in the order of the file; their numbers must overlap as the labels of these regions do."""
    given = {_known(name, _REGIONS, place): each for name, each in numbers.items() if name not in _NOT_GIVEN}
    regions = _set_of(given, {each: set(each.regions) for each in REGION_SETS.values()}, place)
    overlaps = {frozenset(region for region in given if n in given[region]) for n in chain(*given.values())}
    labels: dict[Region, Iterable[Label]] = {region: region.value for region in given}
    expected = {frozenset(region for region in given if label in labels[region]) for label in regions.labels}
    if overlaps != expected or len(given) < len(numbers) - sum(name in numbers for name in _NOT_GIVEN):
        raise WeightsError(
            "the regions do not overlap as their names say",
            place=place,
            found="; ".join(f"{region.name} {list(each)}" for region, each in given.items()),
            expected=f"numbers that overlap as {', '.join(region.name for region in regions.regions)} do",
            remedy="Correct the names in dataset.json.",
        )
    return regions, Head.SIGMOID, tuple(given)


def _labels(numbers: Mapping[str, tuple[int, ...]], place: object) -> Outputs:
    """The background and the labels in the order of their numbers, which are also the numbers of the channels."""
    named = sorted((each[0], name) for name, each in numbers.items() if name not in _NOT_GIVEN)
    if [number for number, _ in named] != list(range(1, len(named) + 1)):
        raise _wrong(
            "numbers of the labels", dict(named), expected=f"numbers from 1 to {len(named)}, each once", place=place
        )
    labels = [_known(name, _LABELS, place) for _, name in named]
    regions = _set_of(labels, {each: set(each.labels) for each in REGION_SETS.values()}, place)
    if len(set(labels)) < len(labels):
        raise _wrong("numbers of the labels", dict(named), expected="each label once", place=place)
    return regions, Head.SOFTMAX, (Label.BACKGROUND, *labels)


def _known(name: str, table: Mapping[str, _T], place: object) -> _T:
    """The label or region with that name."""
    bare = letters(name).replace("tumour", "tumor").replace("oedema", "edema")
    if bare not in table:
        raise WeightsError(
            f"unknown label {shown(name)}",
            place=place,
            expected=f"one of {', '.join(dict.fromkeys(each.name for each in table.values()))}",
            remedy="Rename it in dataset.json if it is one of them.",
        )
    return table[bare]


def _set_of(found: Iterable[Label | Region], known: Mapping[RegionSet, set], place: object) -> RegionSet:
    """The region set with exactly these labels or regions."""
    outputs = set(found)
    for regions, members in known.items():
        if members == outputs:
            return regions
    raise WeightsError(
        "no region set has these labels or regions",
        place=place,
        found=", ".join(sorted(each.name for each in outputs)) or "none",
        expected=" or ".join(", ".join(sorted(each.name for each in members)) for members in known.values()),
        remedy="Networks with other outputs cannot be used.",
    )


def _numbers(name: str, value: object, place: object) -> tuple[int, ...]:
    """The label numbers of an entry: one, or several that make a region."""
    values = value if isinstance(value, list) else [value]
    if not values or not all(type(each) is int and 0 <= each < 256 for each in values):
        raise _wrong(
            f"number of label {shown(name)}",
            value,
            expected="a number, or a list of numbers that make a region",
            place=place,
        )
    return tuple(values)


def _wrong(what: str, found: object, *, expected: str, place: object) -> WeightsError:
    return WeightsError(
        f"impossible {what}",
        place=place,
        found=shown(found),
        expected=expected,
        remedy="Restore dataset.json as nnU-Net wrote it.",
    )
