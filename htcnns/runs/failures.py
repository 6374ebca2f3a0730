"""A case that failed: its error in words, and what stands where its mask should be."""

import traceback
from dataclasses import dataclass
from pathlib import Path

from htcnns.errors import HtcnnsError
from htcnns.files.cases import Case
from htcnns.files.nifti import write_empty_mask
from htcnns.labels import SEQUENCES, Sequence
from htcnns.runs.finished import holds_tumour


@dataclass(frozen=True)
class Told:
    """An error in words, so that nothing of the case that it came from is kept alive."""

    sentence: str
    trace: str


def tell_failure(case: Case, error: Exception) -> Told:
    """The error's sentence, the case's name first, and its traceback."""
    sentence = str(error) if isinstance(error, HtcnnsError) else f"{type(error).__name__}: {error}"
    if not sentence.startswith(f"{case.name}:"):
        sentence = f"{case.name}: {sentence}"
    sentence = " ".join(sentence.split())  # libraries' errors may have several lines
    return Told(sentence, "".join(traceback.format_exception(error)))


def stand_in(case: Case, path: Path) -> str:
    """Write an empty mask on the grid of the t1c, else of another sequence, else on BraTS's own; a note on it.

    A mask of an earlier run is never given up for an empty one.
    """
    if holds_tumour(path):
        return "the mask of an earlier run was left as it is"
    order = (Sequence.T1C, *SEQUENCES)
    known = [case.files[sequence] for sequence in order if sequence in case.files]
    if any(write_empty_mask(path, like=like) for like in known):
        return "an empty mask was written in its place"
    write_empty_mask(path, like=None)
    return "an empty mask was written in its place, on the standard BraTS grid, as no header could be read"
