"""Freely named files of one folder: what each name says, given the others, and whether all belong to one case."""

import itertools
import re
from collections import Counter
from dataclasses import dataclass

from htcnns.files.names import words as names
from htcnns.labels import Sequence

_NUMBER = re.compile(r"(s|se|ser|series|scan|im|img|run|e|i)?\d+")  # dcm2niix also numbers series like this
_LONG_NUMBER = re.compile(r"0\d+|\d{5,}")  # a patient's number or a date; others are sizes and series
_SIZE = re.compile(r"\d+(mm|d|t|x\d+|iso)")
_OF_A_SCAN = (
    names.CONTRAST
    | names.NATIVE
    | set(
        names.words("""
    ax axi axial sag sagittal cor coronal tra trans transversal transverse oblique iso isotropic and to in w weighted
    mprage mpr mp2rage spgr fspgr bravo vibe tfe ffe flash gre se tse fse ssfse frfse haste space cube vista tirm stir
    propeller blade dark fluid fs fatsat sense grappa ir tr te mr mri brain head skull kopf anat scan image img vol
    volume series reg registered coreg coregistered warped resampled stripped skullstripped bet ss n4 bias norm
    normalized corrected raw orig original std mni sri24 atlas final new crop cropped
    """)
    )
)


@dataclass(frozen=True)
class NameReading:
    """What a name says.

    Attributes:
        sequence: sequence that the file is a scan of; None where it is no scan or the name does not say.
        is_mask: whether the file is a mask.
        reason: why there is no sequence; empty where there is one.
    """

    sequence: Sequence | None
    is_mask: bool = False
    reason: str = ""


def read_names(stems: list[str]) -> dict[str, NameReading]:
    """What each name of a folder says, by name.

    Words such as `gt` and `fa` mark a file as a mask or a map, except where the names of all scans begin with them:
    there they are a patient's initials.
    """
    initials = _shared_start(stems)
    return {stem: _read(stem, initials if names.words(stem)[: len(initials)] == initials else []) for stem in stems}


def two_cases(stems: list[str]) -> tuple[str, str] | None:
    """Two names that belong to different cases, such as SMITH_t1 and JONES_t2; None where no two do.

    Words before the sequence tell two names apart where each has a word that the other lacks. Numbers do so only where
    the numbers of one name occur in several names, as each series has a number of its own. Words after the sequence
    mostly describe the scan, so only those that occur in several names count.
    """
    before = {stem: _cut(stem)[0] for stem in stems}
    after = {stem: {word for word in _own(_cut(stem)[1]) if not _is_short(word)} for stem in stems}
    numbers = {stem: frozenset(filter(_NUMBER.fullmatch, words)) for stem, words in before.items()}
    times = Counter(numbers.values())
    again = Counter(word for words in after.values() for word in words)
    for one, other in itertools.combinations(stems, 2):
        words = [{word for word in _own(before[stem]) if not _NUMBER.fullmatch(word)} for stem in (one, other)]
        if _each_has_its_own(*words):
            return one, other
        if max(times[numbers[one]], times[numbers[other]]) > 1 and _each_has_its_own(numbers[one], numbers[other]):
            return one, other
        if _each_has_its_own(*({word for word in after[stem] if again[word] > 1} for stem in (one, other))):
            return one, other
    return None


def _read(stem: str, initials: list[str]) -> NameReading:
    words = names.words(stem)
    rest = "_".join([word for word in initials if word not in names.INITIALS] + words[len(initials) :])
    if names.is_mask(rest):
        return NameReading(None, is_mask=True, reason="a mask by its name, with no case beside it")
    sequences = names.sequences_in(stem)
    if not sequences:
        return NameReading(None, reason="no sequence in its name")
    if foreign := names.foreign_word(rest):
        return NameReading(None, reason=f"none of the four sequences, as its name says {foreign}")
    if len(sequences) > 1:
        return NameReading(None, reason=f"several sequences in its name: {', '.join(sequences)}")
    return NameReading(sequences[0])


def _shared_start(stems: list[str]) -> list[str]:
    """The words that the names of all scans begin with; none where the scans are of fewer than two sequences."""
    scans = [stem for stem in stems if _is_scan_from_its_sequence_on(stem)]
    if len({names.sequences_in(stem) for stem in scans}) < 2:
        return []
    starts = zip(*(_cut(stem)[0] for stem in scans), strict=False)
    return [words[0] for words in itertools.takewhile(lambda words: len(set(words)) == 1, starts)]


def _is_scan_from_its_sequence_on(stem: str) -> bool:
    after = "_".join(_cut(stem)[1])
    return len(names.sequences_in(stem)) == 1 and not names.is_mask(after) and not names.foreign_word(after)


def _cut(stem: str) -> tuple[list[str], list[str]]:
    """The words before the first sequence in the name and those after it."""
    before, after = names.around_sequence(stem)
    return names.words(before), names.words(after)


def _own(words: list[str]) -> set[str]:
    """The words that may identify a patient rather than describe how the scan was made."""
    return {word for word in words if word not in _OF_A_SCAN and not _SIZE.fullmatch(word)}


def _is_short(word: str) -> bool:
    return bool(_NUMBER.fullmatch(word)) and not _LONG_NUMBER.fullmatch(word)


def _each_has_its_own(one: set[str] | frozenset[str], other: set[str] | frozenset[str]) -> bool:
    return bool(one - other) and bool(other - one)
