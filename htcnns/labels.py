"""Sequences, labels and regions, and how each BraTS year and task spells them.

Outside names and numbers (t1ce, flair, label 4) are translated here and never travel further in.
Source of the tables: BraTS challenge pages and the organisers' validators, 2018 to 2026.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum
from types import MappingProxyType

import numpy as np

from htcnns.errors import InputError, SettingsError, require_known


class Sequence(StrEnum):
    """The four MRI sequences, in the order in which arrays stack them."""

    T1N = "t1n"
    T1C = "t1c"
    T2W = "t2w"
    T2F = "t2f"


SEQUENCES = tuple(Sequence)

SPELLINGS: Mapping[str, Sequence] = MappingProxyType(
    {
        "t1n": Sequence.T1N,
        "t1": Sequence.T1N,
        "t1c": Sequence.T1C,
        "t1ce": Sequence.T1C,
        "t1gd": Sequence.T1C,
        "t1post": Sequence.T1C,
        "t2w": Sequence.T2W,
        "t2": Sequence.T2W,
        "t2f": Sequence.T2F,
        "flair": Sequence.T2F,
    }
)


class Label(IntEnum):
    """The tissue numbers used inside htcnns, whatever numbers files use."""

    BACKGROUND = 0
    NCR = 1
    ED = 2
    ET = 3
    RC = 4
    CC = 5


class Region(Enum):
    """The unions of labels that networks output and challenges score; a region's value is its labels.

    A cyst is part of the tumour core (paediatric set, 2024 on), a resection cavity is part of no other region.
    """

    WT = (Label.NCR, Label.ED, Label.ET, Label.CC)
    TC = (Label.NCR, Label.ET, Label.CC)
    ET = (Label.ET,)
    NET = (Label.NCR,)
    ED = (Label.ED,)
    CC = (Label.CC,)
    RC = (Label.RC,)


@dataclass(frozen=True)
class Stroke:
    """One step in writing a label map from the masks of a region set.

    Attributes:
        region: region whose mask is written.
        label: label that its voxels receive; later strokes overwrite earlier ones.
        beneath: label of parts that clean-up removes from the region, such as a component too small to be believed.
    """

    region: Region
    label: Label
    beneath: Label


@dataclass(frozen=True)
class RegionSet:
    """Which regions a member outputs and how their masks become one label map.

    Attributes:
        name: name in the manifest.
        strokes: every region once, in the order of writing, the later over the earlier.
    """

    name: str
    strokes: tuple[Stroke, ...]

    @property
    def regions(self) -> tuple[Region, ...]:
        """The regions in the order of writing, which is also that of arrays of shape (R, …)."""
        return tuple(stroke.region for stroke in self.strokes)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The labels that the set can write, in the order of writing."""
        return tuple(stroke.label for stroke in self.strokes)

    def compose(self, masks: Iterable[np.ndarray]) -> np.ndarray:
        """The uint8 label map of bool masks of one shape, one per region in the order of `regions`.

        A voxel of an inner region also joins the regions around it: a TC voxel outside WT becomes tumour, so that the
        regions of the result nest even if the masks do not.
        """
        label_map: np.ndarray | None = None
        for stroke, mask in zip(self.strokes, masks, strict=True):
            label_map = np.zeros(mask.shape, np.uint8) if label_map is None else label_map
            label_map[mask] = stroke.label
        assert label_map is not None
        return label_map


_WT = Stroke(Region.WT, Label.ED, Label.BACKGROUND)
_TC = Stroke(Region.TC, Label.NCR, Label.ED)
_ET = Stroke(Region.ET, Label.ET, Label.NCR)

REGION_SETS = MappingProxyType(
    {
        row.name: row
        for row in (
            # adult glioma before treatment, and the other tasks that score WT, TC and ET
            RegionSet("wt-tc-et", (_WT, _TC, _ET)),
            # post-treatment glioma, 2024 on: the resection cavity lies outside the whole tumour
            RegionSet("wt-tc-et-rc", (_WT, _TC, _ET, Stroke(Region.RC, Label.RC, Label.BACKGROUND))),
            # paediatric, 2024 on: four tissues that exclude each other
            RegionSet(
                "et-net-cc-ed",
                (
                    Stroke(Region.ED, Label.ED, Label.BACKGROUND),
                    Stroke(Region.NET, Label.NCR, Label.ED),
                    Stroke(Region.CC, Label.CC, Label.NCR),
                    _ET,
                ),
            ),
        )
    }
)
GLIOMA = REGION_SETS["wt-tc-et"]


@dataclass(frozen=True)
class LabelSet:
    """How one family of challenges numbers the labels in its files; `numbers` maps Label to file number."""

    name: str
    numbers: Mapping[Label, int]

    def __reduce__(self) -> tuple:
        return _rebuilt, (self.name, dict(self.numbers))  # `numbers` is a mappingproxy, which cannot be pickled

    def not_given_by(self, regions: RegionSet) -> tuple[Label, ...]:
        """Labels of this set that members with these regions cannot output, such as a resection cavity."""
        return tuple(label for label in self.numbers if label not in regions.labels)

    def given_by(self, regions: RegionSet) -> dict[Label, int]:
        """The numbers of the labels that members with these regions can output."""
        return {label: number for label, number in self.numbers.items() if label in regions.labels}


def _label_set(name: str, **numbers: int) -> LabelSet:
    return _rebuilt(name, {Label[label]: number for label, number in numbers.items()})


def _rebuilt(name: str, numbers: dict[Label, int]) -> LabelSet:
    return LabelSet(name, MappingProxyType(numbers))


LABEL_SETS = MappingProxyType(
    {
        row.name: row
        for row in (
            # BraTS 2017 to 2022
            _label_set("brats2021", NCR=1, ED=2, ET=4),
            # BraTS 2023 on: GLI, SSA, MEN, MET, GoAT; PED 2023
            _label_set("brats2023", NCR=1, ED=2, ET=3),
            # post-treatment glioma, 2024 on
            _label_set("brats2024-gli", NCR=1, ED=2, ET=3, RC=4),
            # metastases, 2024 on
            _label_set("brats2024-met", NCR=1, ED=2, ET=3, RC=4),
            # paediatric, 2024 on
            _label_set("brats2024-ped", ET=1, NCR=2, CC=3, ED=4),
        )
    }
)

_OLD_NAMES = re.compile(r"brats(1[789]|2[012](?!\d)|20(1[789]|2[012]))", re.IGNORECASE)
_ADVICE = tuple(
    (re.compile(rf"brats[-_]?{years}", re.IGNORECASE), text)
    for years, text in (
        (r"(20)?(1[789]|2[012])(\D.*)?", "Did you mean 'brats2021'? Its numbers are those of 2017 to 2022."),
        (r"(20)?23(\D.*)?", "Did you mean 'brats2023'? It is the set of every task of that year."),
        (
            r"(20)?2[456]([-_]?(ssa|men|goat).*)?",
            "From 2024 on choose brats2024-gli, brats2024-met or brats2024-ped by the task; "
            "SSA, MEN and GoAT have the numbers of brats2023.",
        ),
    )
)  # for years whose nearest known name stands for other numbers


def require_numbers(regions: RegionSet, numbers: LabelSet) -> None:
    """Raise SettingsError unless the set has a number for every label that members with these regions can output."""
    missing = [label.name for label in regions.labels if label not in numbers.numbers]
    if missing:
        fitting = [each.name for each in LABEL_SETS.values() if set(regions.labels) <= set(each.numbers)]
        raise SettingsError(
            f"{numbers.name} has no number for {', '.join(missing)}, which these members predict",
            setting="labels",
            expected=f"one of {', '.join(fitting)}",
            remedy="Name one of them.",
        )


def label_set(name: str, *, setting: str = "labels") -> LabelSet:
    """The label set of that name.

    Args:
        setting: setting that holds the name, for the message.

    Raises:
        SettingsError: an unknown name; the message lists the known ones.
    """
    advice = next((text for names, text in _ADVICE if names.fullmatch(name)), "")
    require_known(name, LABEL_SETS, what="label set", setting=setting, remedy=advice)
    return LABEL_SETS[name]


def default_label_set(case_name: str) -> LabelSet:
    """The set with 1 2 4 for names of 2017 to 2022 (Brats17 to BraTS22, BraTS2017 to BraTS2022), else with 1 2 3.

    Cases of later sets have the same kind of names but other numbers, so the caller must name those sets.
    """
    return LABEL_SETS["brats2021" if _OLD_NAMES.match(case_name) else "brats2023"]


def encode(label_map: np.ndarray, numbers: LabelSet) -> np.ndarray:
    """The label map in the file numbers of a label set.

    Args:
        label_map: uint8 of Label values that the set has.

    Raises:
        ValueError: a label that the set has no number for.
    """
    table = np.full(256, 255, np.uint8)
    table[Label.BACKGROUND] = 0
    for label, number in numbers.numbers.items():
        table[label] = number
    encoded = table[label_map]
    if (encoded == 255).any():
        strange = sorted({int(v) for v in np.unique(label_map)} - {0, *map(int, numbers.numbers)})
        raise ValueError(f"labels {strange} have no number in {numbers.name}")
    return encoded


def decode(file_map: np.ndarray, numbers: LabelSet, *, where: str) -> np.ndarray:
    """A label map of Label values from file numbers.

    Args:
        file_map: uint8, as read from a file.
        where: the file's name, for the message.

    Raises:
        InputError: a number that the set does not have.
    """
    table = np.full(256, 255, np.uint8)
    table[0] = Label.BACKGROUND
    for label, number in numbers.numbers.items():
        table[number] = label
    decoded = table[file_map]
    if (decoded == 255).any():
        found = sorted(int(v) for v in np.unique(file_map[decoded == 255]))
        known = sorted([0, *numbers.numbers.values()])
        raise InputError(
            "holds numbers that its label set does not have",
            place=where,
            found=found,
            expected=f"those of {numbers.name}, {known}",
            remedy=f"Name the right label set ({', '.join(LABEL_SETS)}).",
        )
    return decoded


def region_mask(label_map: np.ndarray, region: Region) -> np.ndarray:
    """(…) bool mask of a region in a uint8 label map of Label values."""
    table = np.zeros(256, bool)
    table[list(region.value)] = True
    return table[label_map]
