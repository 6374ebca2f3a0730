"""Naming conventions as data: how cases are named and how their file names end; reading BraTS file names with them.

Source of the conventions: the BraTS download pages 2017 to 2026.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from htcnns.labels import Sequence


class Convention(StrEnum):
    """How the files of a case are named; the value is the human-readable name."""

    BRATS_2017 = "BraTS 2017-20"
    BRATS_2021 = "BraTS 2021-22"
    BRATS_2023 = "BraTS 2023+"
    NNUNET = "nnU-Net"
    FREE = "free"


@dataclass(frozen=True, kw_only=True)
class Naming:
    """A BraTS convention.

    Attributes:
        convention: its name.
        case: pattern of a case's name.
        separator: character between the case's name and the word for the sequence.
        endings: part of a sequence's file name between the case's name and `.nii.gz`.
        example: a file name that follows it.
    """

    convention: Convention
    case: re.Pattern[str]
    separator: str
    endings: Mapping[Sequence, str]
    example: str


_OLD_ENDINGS = MappingProxyType(
    {Sequence.T1N: "_t1", Sequence.T1C: "_t1ce", Sequence.T2W: "_t2", Sequence.T2F: "_flair"}
)

NAMINGS = (
    Naming(
        convention=Convention.BRATS_2023,
        case=re.compile(r"brats(-[a-z]+)+(-\d+){1,2}", re.IGNORECASE),
        separator="-",
        endings=MappingProxyType({sequence: f"-{sequence}" for sequence in Sequence}),
        example="BraTS-GLI-00001-000-t1c.nii.gz",
    ),
    Naming(
        convention=Convention.BRATS_2021,
        case=re.compile(r"brats2021_\d+", re.IGNORECASE),
        separator="_",
        endings=_OLD_ENDINGS,
        example="BraTS2021_00495_t1ce.nii.gz",
    ),
    Naming(
        convention=Convention.BRATS_2017,
        case=re.compile(r"brats(17|18|19|20)_.+", re.IGNORECASE | re.DOTALL),
        separator="_",
        endings=_OLD_ENDINGS,
        example="Brats18_2013_2_1_t1ce.nii.gz",
    ),
)

_TIME_POINT = re.compile(r"(BraTS-[A-Za-z]+-\d+)-\d{3}", re.IGNORECASE)  # BraTS 2023 on: patient, then visit
FREE_ENDINGS = MappingProxyType({sequence: f"_{sequence}" for sequence in Sequence})
ENDINGS: Mapping[Convention, Mapping[Sequence, str]] = MappingProxyType(
    {naming.convention: naming.endings for naming in NAMINGS} | {Convention.FREE: FREE_ENDINGS}
)  # nnU-Net's depend on the order of its channels


def is_brats_case(name: str) -> bool:
    """Whether a folder with this name is that of a case by one of BraTS's conventions."""
    return any(naming.case.fullmatch(name) for naming in NAMINGS)


def patient_of(case_name: str) -> str:
    """The patient of a case by its name: names of BraTS 2023 and later without the visit, all others unchanged."""
    match = _TIME_POINT.fullmatch(case_name)
    return match[1] if match else case_name


def read_brats(stem: str) -> tuple[Convention, str, Sequence | None] | None:
    """Convention, case and sequence of a BraTS file name; the sequence of a truth is None. None for any other name."""
    for naming in NAMINGS:
        case, _, word = stem.rpartition(naming.separator)
        if naming.case.fullmatch(case):
            ending = naming.separator + word.lower()
            for sequence, known in naming.endings.items():
                if ending == known:
                    return naming.convention, case, sequence
            return (naming.convention, case, None) if word.lower() == "seg" else None
    return None
