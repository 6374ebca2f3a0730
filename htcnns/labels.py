"""Sequences, labels and regions, and how each BraTS year and task spells them.

Outside names and numbers (t1ce, flair, label 4) are translated here and never travel further in.
Source of the tables: BraTS challenge pages and the organisers' validators, 2018 to 2026.
"""

import re
from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum

import numpy as np

from htcnns.errors import InputError, require_known


class Sequence(StrEnum):
    """The four MRI sequences, in the order in which arrays stack them."""

    T1N = "t1n"
    T1C = "t1c"
    T2W = "t2w"
    T2F = "t2f"


SEQUENCES = tuple(Sequence)

SPELLINGS: dict[str, Sequence] = {
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


class Label(IntEnum):
    """The tissue numbers used inside htcnns, whatever the numbers outside."""

    BACKGROUND = 0
    NCR = 1
    ED = 2
    ET = 3
    RC = 4
    CC = 5


class Region(Enum):
    """The overlapping unions of labels that networks give and challenges score; the value is its labels.

    A cyst is part of the tumour core (paediatric set, 2024 on), a resection cavity is part of nothing.
    """

    WT = (Label.NCR, Label.ED, Label.ET, Label.CC)
    TC = (Label.NCR, Label.ET, Label.CC)
    ET = (Label.ET,)


REGIONS = tuple(Region)
COMPOSED = (Label.NCR, Label.ED, Label.ET)  # the labels that `compose` can write


@dataclass(frozen=True)
class LabelSet:
    """How one family of challenges numbers the labels in its files; `numbers` maps Label to file number."""

    name: str
    numbers: dict[Label, int]

    @property
    def not_given(self) -> tuple[Label, ...]:
        """Labels of this set that no member can give (resection cavity, cyst)."""
        return tuple(label for label in self.numbers if label not in COMPOSED)


LABEL_SETS = {
    row.name: row
    for row in (
        # BraTS 2017 to 2022
        LabelSet("brats2021", {Label.NCR: 1, Label.ED: 2, Label.ET: 4}),
        # BraTS 2023 on: GLI, SSA, MEN, MET, GoAT; PED 2023
        LabelSet("brats2023", {Label.NCR: 1, Label.ED: 2, Label.ET: 3}),
        # post-treatment glioma, 2024 on
        LabelSet("brats2024-gli", {Label.NCR: 1, Label.ED: 2, Label.ET: 3, Label.RC: 4}),
        # metastases, 2024 on
        LabelSet("brats2024-met", {Label.NCR: 1, Label.ED: 2, Label.ET: 3, Label.RC: 4}),
        # paediatric, 2024 on
        LabelSet("brats2024-ped", {Label.ET: 1, Label.NCR: 2, Label.CC: 3, Label.ED: 4}),
    )
}

_OLD_NAMES = re.compile(r"brats(1[789]|20(?!\d)|2021)", re.IGNORECASE)


def label_set(name: str) -> LabelSet:
    """The label set of that name.

    Raises:
        SettingsError: an unknown name; the message lists the known ones.
    """
    require_known(name, LABEL_SETS, what="label set", where="--labels")
    return LABEL_SETS[name]


def default_label_set(case_name: str) -> LabelSet:
    """1 2 4 for names of 2017 to 2022 (Brats17 to BraTS20, BraTS2021), else 1 2 3.

    Later sets share their case names with other numbers, so they are chosen by flag only.
    """
    return LABEL_SETS["brats2021" if _OLD_NAMES.match(case_name) else "brats2023"]


def encode(label_map: np.ndarray, numbers: LabelSet) -> np.ndarray:
    """A label map in the file numbers of `numbers`.

    Args:
        label_map: uint8, values of Label that the set has.

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
            f"{where}: holds the numbers {found}; {numbers.name} has {known}. "
            f"Name the right label set ({', '.join(LABEL_SETS)})."
        )
    return decoded


def region_mask(label_map: np.ndarray, region: Region) -> np.ndarray:
    """(…) bool mask of a region in a uint8 label map of Label values."""
    table = np.zeros(256, bool)
    table[list(region.value)] = True
    return table[label_map]


def compose(wt: np.ndarray, tc: np.ndarray, et: np.ndarray) -> np.ndarray:
    """The uint8 label map of three bool masks, written WT, TC, ET, the later over the earlier.

    A TC voxel outside WT becomes tumour too, so the regions of the result nest whatever the masks did.
    """
    label_map = np.zeros(wt.shape, np.uint8)
    label_map[wt] = Label.ED
    label_map[tc] = Label.NCR
    label_map[et] = Label.ET
    return label_map
