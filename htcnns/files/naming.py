"""File names: which convention one follows, which case and which sequence it names.

Source of the conventions: the BraTS download pages 2017 to 2026 and nnU-Net's dataset format, versions 1 and 2.
"""

import re
from dataclasses import dataclass

from htcnns.labels import SPELLINGS, Sequence

NNUNET = "nnU-Net"
FREE = "free"
FREE_ENDINGS = {sequence: f"_{sequence}" for sequence in Sequence}


@dataclass(frozen=True)
class Naming:
    """One BraTS convention: how a case is called, and what its files' names end with before `.nii.gz`."""

    name: str
    case: re.Pattern[str]
    separator: str
    endings: dict[Sequence, str]
    example: str


_NEW_ENDINGS = {sequence: f"-{sequence}" for sequence in Sequence}
_OLD_ENDINGS = {Sequence.T1N: "_t1", Sequence.T1C: "_t1ce", Sequence.T2W: "_t2", Sequence.T2F: "_flair"}

NAMINGS = (
    Naming(
        "BraTS 2023+",
        re.compile(r"brats(-[a-z]+)+(-\d+){1,2}", re.IGNORECASE),
        "-",
        _NEW_ENDINGS,
        "BraTS-GLI-00001-000-t1c.nii.gz",
    ),
    Naming(
        "BraTS 2021-22",
        re.compile(r"brats2021_\d+", re.IGNORECASE),
        "_",
        _OLD_ENDINGS,
        "BraTS2021_00495_t1ce.nii.gz",
    ),
    Naming(
        "BraTS 2017-20",
        re.compile(r"brats(17|18|19|20)_.+", re.IGNORECASE),
        "_",
        _OLD_ENDINGS,
        "Brats18_2013_2_1_t1ce.nii.gz",
    ),
)

_SEGMENTATIONS = ("seg", "segm", "segmentation")
_MASK_WORDS = frozenset([*_SEGMENTATIONS, "label", "labels", "mask", "masks", "gtv", "truth", "gt"])
_MASK_ENDS = ("seg", "mask", "label", "labels", "segmentation")
_MASK_FOLDERS = ("labelstr", "labelsts", "labels")
CONTRAST = frozenset(
    ("gd", "gad", "gado", "gadolinium", "contrast", "ce", "c", "km", "post", "postcontrast", "postgad", "enhanced")
)
NATIVE = frozenset(("pre", "non", "no", "without", "wo", "native", "nativ", "plain", "noncontrast", "precontrast"))
_FOREIGN = frozenset(
    ("map", "maps", "star", "adc", "dwi", "swi", "dti", "fa", "asl", "bold", "fmri", "perfusion", "pwi", "dsc", "dce")
) | frozenset(("cbv", "rcbv", "cbf", "mtt", "ktrans"))
INITIALS = _FOREIGN | {"gt", "gtv"}  # words that may also be a patient's
_NNUNET_NAME = re.compile(r"(.+)_(00\d\d)")  # four digits, but never a year


def stem(file_name: str) -> str | None:
    """The name without `.nii` or `.nii.gz`; None where it ends otherwise and so is no NIfTI file."""
    match = re.fullmatch(r"(.+)\.nii(\.gz)?", file_name, re.IGNORECASE)
    return match[1] if match else None


def words(stem: str) -> list[str]:
    """The words of a name in lower case; whatever is no letter and no digit parts them."""
    return re.findall(r"[^\W_]+", _lower(stem))


def read_brats(stem: str) -> tuple[Naming, str, Sequence | None] | None:
    """Naming, case and sequence of a BraTS file name; the sequence of a truth is None. None for any other name."""
    for naming in NAMINGS:
        case, _, word = stem.rpartition(naming.separator)
        if naming.case.fullmatch(case):
            ending = naming.separator + word.lower()
            for sequence, known in naming.endings.items():
                if ending == known:
                    return naming, case, sequence
            return (naming, case, None) if word.lower() == "seg" else None
    return None


def read_nnunet(stem: str) -> tuple[str, int] | None:
    """Case and channel number of an nnU-Net scan such as `CASE_0003`; None for any other name."""
    match = _NNUNET_NAME.fullmatch(stem)
    return (match[1], int(match[2])) if match else None


def read_free(stem: str) -> tuple[Sequence, ...]:
    """The sequences whose spelling stands as a word of its own in the name, in the order of Sequence.

    Whatever is no letter and no digit parts words. `t1` with a word for contrast after it is a t1c.
    A name with no sequence, or with several, does not say what the file is.
    """
    name = _lower(stem)
    found = {_sequence_at(match) for match in _FREE_WORD.finditer(name)}
    return tuple(sequence for sequence in Sequence if sequence in found)


def around_sequence(stem: str) -> tuple[str, str]:
    """What stands before the first sequence in the name, and what after it; all before where there is none."""
    name = _lower(stem)
    match = _FREE_WORD.search(name)
    return (name[: match.start()], name[match.end() :]) if match else (name, "")


def foreign_word(stem: str) -> str:
    """The word that says that a file is none of the four sequences, such as a T1 map or T2*; empty if there is none."""
    return next((word for word in words(stem) if word in _FOREIGN), "")


def is_mask(stem: str) -> bool:
    """Whether a word of the name says that the file is a rater's or a tool's mask, never a scan."""
    return any(word in _MASK_WORDS or word.endswith(_MASK_ENDS) for word in words(stem))


def is_mask_folder(name: str) -> bool:
    """Whether a folder of this name holds label maps, as nnU-Net's `labelsTr` does."""
    return name.lower() in _MASK_FOLDERS


def is_segmentation(stem: str) -> bool:
    """Whether the name's last word says that the file is a label map of the tumour (and not a brain mask)."""
    return any(word in _SEGMENTATIONS for word in words(stem)[-1:])


def read_channel(called: str) -> Sequence | None:
    """The sequence that an nnU-Net data set calls a channel by, such as `T1-weighted` or `T1Gd`; None if unknown."""
    bare = _letters(called.lower()).replace("weighted", "w")
    return _CHANNELS.get(re.sub(r"^mri?|mri?$|image$", "", bare))


def same_letters(name: str, start: str) -> bool:
    """Whether `name` begins with `start` once case and separators are left aside."""
    return _letters(name.lower()).startswith(_letters(start.lower()))


def _lower(stem: str) -> str:
    return stem.lower().replace("*", "_star_")  # T2*


def _sequence_at(match: re.Match[str]) -> Sequence:
    """The sequence of a word in a name; a plain t1 by what follows it, so that "T1 mprage post gad" is no t1n."""
    after = set(words(match.string[match.end() :]))
    if match[0] == "t1" and after & CONTRAST and not after & NATIVE:
        return Sequence.T1C
    return _FREE_SPELLINGS[_letters(match[0])]


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name)


def _pattern(spelling: str) -> str:
    """The spelling with an optional separator after its t1 or t2, so that t1_ce and T2-FLAIR are one word too."""
    return rf"{spelling[:2]}[\W_]?{spelling[2:]}" if spelling[0] == "t" and spelling[2:] else spelling


_FREE_SPELLINGS = {**SPELLINGS, "t2flair": Sequence.T2F}
# The longest first: t1 must not take the head of t1_ce.
_FREE_WORD = re.compile(
    r"(?<![^\W_])(" + "|".join(map(_pattern, sorted(_FREE_SPELLINGS, key=len, reverse=True))) + r")(?![^\W_])"
)

_CHANNELS = {
    **_FREE_SPELLINGS,
    **dict.fromkeys(("t1w", "t1native", "t1pre", "t1wpre"), Sequence.T1N),
    **dict.fromkeys(("t1wc", "t1wce", "t1wgd", "t1wpost", "t1cw", "t1cew", "t1gdw", "t1km"), Sequence.T1C),
    **dict.fromkeys(("t1contrast", "t1postcontrast", "t1contrastenhanced"), Sequence.T1C),
    **dict.fromkeys(("t1wcontrast", "t1wpostcontrast", "t1wcontrastenhanced"), Sequence.T1C),
    **dict.fromkeys(("t2wflair", "flairt2"), Sequence.T2F),
}
