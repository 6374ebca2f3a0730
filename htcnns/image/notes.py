"""Sentences on what is unusual about a case, each with its kind, so that cases can be sorted by what was found."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Self


class Kind(StrEnum):
    """What a note is about."""

    EMPTY_MASK = "empty mask"
    NO_ENHANCING_TUMOUR = "no enhancing tumour"
    TUMOUR_AT_BORDER = "tumour at the image's border"
    MEMBERS_DISAGREE = "members disagree"
    SEQUENCES_SWAPPED = "sequences look swapped"
    SEQUENCE_DOUBLED = "sequence looks doubled"
    NO_CONTRAST_AGENT = "t1c without enhancement"
    NOT_SKULL_STRIPPED = "not skull-stripped"
    UNUSUAL_BRAIN = "unusual brain"
    OTHER_HEAD = "sequences of different heads"
    SEQUENCE_MISSING = "sequence missing"
    REMARK = "remark"


class Note(str):
    """A sentence for a person to read, with its kind; compares equal to the text alone.

    Attributes:
        kind: what it is about; REMARK if nobody needs to sort cases by it.
    """

    kind: Kind

    def __new__(cls, text: str, kind: Kind = Kind.REMARK) -> Self:
        note = super().__new__(cls, text)
        note.kind = kind
        return note


def noted(texts: Iterable[str], kind: Kind) -> list[str]:
    """The sentences as notes of one kind; those that already have a kind keep it."""
    return [text if isinstance(text, Note) else Note(text, kind) for text in texts]


def kind_of(text: str) -> Kind:
    """The kind of a sentence; REMARK where it has none."""
    return text.kind if isinstance(text, Note) else Kind.REMARK
