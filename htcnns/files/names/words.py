"""The words of a file's name: which sequences they name, and whether they say that the file is a mask."""

import re
from types import MappingProxyType

from htcnns.labels import SPELLINGS, Sequence

FREE_SPELLINGS = MappingProxyType({**SPELLINGS, "t2flair": Sequence.T2F})
CONTRAST = frozenset(
    ("gd", "gad", "gado", "gadolinium", "contrast", "ce", "c", "km", "post", "postcontrast", "postgad", "enhanced")
)
NATIVE = frozenset(("pre", "non", "no", "without", "wo", "native", "nativ", "plain", "noncontrast", "precontrast"))
_FOREIGN = frozenset(
    ("map", "maps", "star", "adc", "dwi", "swi", "dti", "fa", "asl", "bold", "fmri", "perfusion", "pwi", "dsc", "dce")
) | frozenset(("cbv", "rcbv", "cbf", "mtt", "ktrans"))
INITIALS = _FOREIGN | {"gt", "gtv"}  # words that may also be a patient's

_SEGMENTATIONS = ("seg", "segm", "segmentation")
_MASK_WORDS = frozenset([*_SEGMENTATIONS, "label", "labels", "mask", "masks", "gtv", "truth", "gt"])
_MASK_ENDS = ("seg", "mask", "label", "labels", "segmentation")
_MASK_FOLDERS = ("labelstr", "labelsts", "labels")


def stem(file_name: str) -> str | None:
    """The name without `.nii` or `.nii.gz`; None where it has neither ending and so is not that of a NIfTI file."""
    match = re.fullmatch(r"(.+)\.nii(\.gz)?", file_name, re.IGNORECASE | re.DOTALL)  # a name may contain a newline
    return match[1] if match else None


def words(stem: str) -> list[str]:
    """The words of a name in lower case; any character that is neither letter nor digit separates words."""
    return re.findall(r"[^\W_]+", _lower(stem))


def letters(name: str) -> str:
    """The name in lower case, reduced to letters a to z and digits."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def sequences_in(stem: str) -> tuple[Sequence, ...]:
    """The sequences whose spelling is a word of its own in the name, in the order of Sequence.

    `t1` with a word for contrast after it is a t1c. A name with no sequence, or with several, leaves open what the file
    is.
    """
    name = _lower(stem)
    found = {_sequence_at(match) for match in _FREE_WORD.finditer(name)}
    return tuple(sequence for sequence in Sequence if sequence in found)


def around_sequence(stem: str) -> tuple[str, str]:
    """The parts of the name before and after the first sequence in it; the whole name and "" where there is none."""
    name = _lower(stem)
    match = _FREE_WORD.search(name)
    return (name[: match.start()], name[match.end() :]) if match else (name, "")


def foreign_word(stem: str) -> str:
    """The word that marks a file as none of the four sequences, as for a T1 map or T2*; "" where there is none."""
    return next((word for word in words(stem) if word in _FOREIGN), "")


def is_mask(stem: str) -> bool:
    """Whether a word of the name marks the file as a mask, a rater's or a tool's, and so never a scan."""
    return any(word in _MASK_WORDS or word.endswith(_MASK_ENDS) for word in words(stem))


def is_mask_folder(name: str) -> bool:
    """Whether a folder of this name holds label maps, as nnU-Net's `labelsTr` does."""
    return name.lower() in _MASK_FOLDERS


def is_segmentation(stem: str) -> bool:
    """Whether the name's last word says that the file is a label map of the tumour (and not a brain mask)."""
    return any(word in _SEGMENTATIONS for word in words(stem)[-1:])


def _lower(stem: str) -> str:
    return stem.lower().replace("*", "_star_")  # T2*


def _sequence_at(match: re.Match[str]) -> Sequence:
    """The sequence that a word of a name means; words after a plain t1 count, so that "T1 mprage post gad" is a t1c."""
    after = set(words(match.string[match.end() :]))
    if match[0] == "t1" and after & CONTRAST and not after & NATIVE:
        return Sequence.T1C
    return FREE_SPELLINGS[letters(match[0])]


def _pattern(spelling: str) -> str:
    """Pattern of the spelling, with an optional separator after t1 or t2, so that t1_ce and T2-FLAIR match too."""
    return rf"{spelling[:2]}[\W_]?{spelling[2:]}" if spelling[0] == "t" and spelling[2:] else spelling


# The longest first: t1 must not match the beginning of t1_ce.
_FREE_WORD = re.compile(
    r"(?<![^\W_])(" + "|".join(map(_pattern, sorted(FREE_SPELLINGS, key=len, reverse=True))) + r")(?![^\W_])"
)
