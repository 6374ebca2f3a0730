"""A case: which file is which sequence of whom; and files that are no case's."""

from dataclasses import dataclass
from pathlib import Path

from htcnns.errors import InputError
from htcnns.files.names.brats import ENDINGS, FREE_ENDINGS, Convention
from htcnns.files.names.dataset_json import channel_endings
from htcnns.labels import SEQUENCES, Sequence


@dataclass(frozen=True, kw_only=True)
class Case:
    """One visit of one patient: which file holds which sequence.

    Attributes:
        name: as in the file names, or the folder's name where the naming is free.
        files: the scans found; a sequence that is missing has no entry.
        naming: the convention that the file names follow.
        folder: where the files lie.
        flat: the folder's name is not the case's, so other cases may lie in it as well.
        channels: order of nnU-Net's channels; empty under any other convention.
        truth: the rater's label map, where exactly one lies beside the scans; never an input.
        unread: files named as a sequence that lacks a scan, and in words why each is none, such as its format.
        fault: why nobody can tell what the case is, such as two files for one sequence; None where it is clear.
    """

    name: str
    files: dict[Sequence, Path]
    naming: Convention
    folder: Path
    flat: bool
    channels: tuple[Sequence, ...] = ()
    truth: Path | None = None
    unread: tuple[tuple[Path, str], ...] = ()
    fault: InputError | None = None

    @property
    def found(self) -> tuple[Sequence, ...]:
        """Sequences with a file."""
        return tuple(sequence for sequence in SEQUENCES if sequence in self.files)

    @property
    def missing(self) -> tuple[Sequence, ...]:
        """Sequences without a file."""
        return tuple(sequence for sequence in SEQUENCES if sequence not in self.files)

    def file_name(self, sequence: Sequence) -> str:
        """The name under which a sequence of this case would be found."""
        endings = ENDINGS.get(self.naming) or channel_endings(self.channels)
        return f"{self.name}{endings.get(sequence, FREE_ENDINGS[sequence])}.nii.gz"

    @property
    def reference(self) -> Path | None:
        """The scan on whose grid the mask lies: the t1c, or the first other one where that is missing."""
        return next((self.files[each] for each in (Sequence.T1C, *SEQUENCES) if each in self.files), None)

    def require_complete(self, *, most_missing: int = 0) -> None:
        """Raise InputError where the case is not clear or lacks more sequences; it says which file names would do."""
        if self.fault:
            raise self.fault
        if len(self.missing) > most_missing:
            why = ", ".join(f"{path.name} is {reason}" for path, reason in self.unread)
            raise InputError(
                f"{', '.join(self.missing)} missing{why and f', as {why}'}",
                place=self.name,
                found=", ".join(self.found) or "none",
                remedy=f"Add {' and '.join(map(self.file_name, self.missing))} or leave the case out.",
            )


@dataclass(frozen=True)
class Leftover:
    """A file or folder of scans that is no case's scan or truth.

    Attributes:
        reason: why it is none, to be read after its name.
        is_near_miss: its name says a sequence, but not in the way of the cases beside it.
    """

    path: Path
    reason: str
    is_near_miss: bool = False
