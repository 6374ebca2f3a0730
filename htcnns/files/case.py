"""A case: which file is which sequence of one visit; and files that belong to no case."""

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
        files: the scans found; a missing sequence has no entry.
        naming: the convention that the file names follow.
        folder: where the files lie.
        flat: the folder's name is not the case's, so other cases may lie in it as well.
        channels: order of nnU-Net's channels; empty under any other convention.
        truth: the rater's label map, where exactly one lies beside the scans; never an input.
        unread: files named as a missing sequence, each with the reason why it is no scan, such as its format.
        fault: why the case is unclear, such as two files for one sequence; None where it is clear.
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
        """Raise InputError where the case is unclear or lacks more than `most_missing` files, which the error names."""
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
    """A file or folder that looks like a scan or a case but belongs to no case.

    Attributes:
        reason: why it belongs to no case, worded to follow its name.
        is_near_miss: whether its name states a sequence, but not in the convention of the cases beside it.
    """

    path: Path
    reason: str
    is_near_miss: bool = False
