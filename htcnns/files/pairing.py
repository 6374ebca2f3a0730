"""Which prediction belongs to which truth, by the names of their files."""

import re
from dataclasses import dataclass
from pathlib import Path

from htcnns.errors import InputError
from htcnns.files.folder import entries
from htcnns.files.names.words import stem
from htcnns.files.places import is_file
from htcnns.labels import SPELLINGS

_MASK = re.compile(r"[-_.](seg|mask|label)$", re.IGNORECASE)
_SCAN = re.compile(rf"[-_.]({'|'.join(SPELLINGS)})$", re.IGNORECASE)
_FIVE_DIGITS = re.compile(r"^\d{5}$")


@dataclass(frozen=True)
class FilePair:
    """The two files of a case."""

    case: str
    prediction: Path
    truth: Path


@dataclass(frozen=True)
class Pairing:
    """Every pair, and the cases that lack one side.

    Attributes:
        without_truth: predictions by case name.
        without_prediction: truths by case name.
    """

    pairs: tuple[FilePair, ...]
    without_truth: dict[str, Path]
    without_prediction: dict[str, Path]


def pair_files(predictions: Path, truths: Path) -> Pairing:
    """Pair the label maps of two folders by case name.

    A file is `<CASE>.nii.gz`, `<CASE>-seg.nii.gz` or `<CASE>_seg.nii.gz`, in the folder itself or in a folder named
    `<CASE>` inside it; scans beside them are ignored. `00495.nii.gz` belongs to `BraTS2021_00495` where that is the
    only case with this number.

    Raises:
        InputError: a folder cannot be listed or has no label maps, a case has two files, or no name is in both folders.
    """
    predicted, true = label_map_files(predictions), label_map_files(truths)
    predicted = _by_full_name(predicted, true, folder=predictions)
    true = _by_full_name(true, predicted, folder=truths)
    common = sorted(predicted.keys() & true.keys())
    if not common:
        raise InputError(
            f"no prediction belongs to a truth in {truths}",
            place=predictions,
            found=f"{_some(predicted)} against {_some(true)}",
            remedy="Name both files of a case alike: CASE.nii.gz and CASE-seg.nii.gz.",
        )
    return Pairing(
        tuple(FilePair(case, predicted[case], true[case]) for case in common),
        {case: predicted[case] for case in sorted(predicted.keys() - true.keys())},
        {case: true[case] for case in sorted(true.keys() - predicted.keys())},
    )


def label_map_files(folder: Path) -> dict[str, Path]:
    """The label maps in a folder and in its cases' folders, by case name."""
    listed = entries(folder, expected="a folder with label maps", remedy="Give the folder of the files.")
    found: dict[str, Path] = {}
    for path in sorted([*listed, *folder.glob("*/*")]):
        name = _case_name(path, folder)
        if name is None:
            continue
        if name in found:
            raise _two_of(name, found[name], path, folder=folder)
        found[name] = path
    if not found:
        raise InputError(
            "no label maps",
            place=folder,
            expected="files like CASE.nii.gz or CASE-seg.nii.gz",
            remedy="Give the folder of the files.",
        )
    return found


def _case_name(path: Path, folder: Path) -> str | None:
    """The case that the label map belongs to; None for scans, hidden files, and other files in a case's folder."""
    called = stem(path.name)
    if called is None or path.name.startswith(".") or not is_file(path):
        return None
    name = _MASK.sub("", called)
    if name == called and _SCAN.search(called):
        return None
    return name if path.parent == folder or name == path.parent.name else None


def _by_full_name(files: dict[str, Path], others: dict[str, Path], *, folder: Path) -> dict[str, Path]:
    """The label maps of a folder by the names that `_full_name` returns; raises InputError where two share one."""
    found: dict[str, Path] = {}
    for name, path in files.items():
        full = _full_name(name, others)
        if full in found:
            raise _two_of(full, found[full], path, folder=folder)
        found[full] = path
    return found


def _two_of(case: str, one: Path, other: Path, *, folder: Path) -> InputError:
    return InputError(
        f"two label maps of {case}: {one.name} and {other.name}",
        place=folder,
        expected="one",
        remedy="Move one of them away.",
    )


def _full_name(name: str, others: dict[str, Path]) -> str:
    """For a name of five digits, the only other case whose name ends with them; else the name itself."""
    if name in others or not _FIVE_DIGITS.match(name):
        return name
    same = [other for other in others if other.endswith(f"_{name}") or other.endswith(f"-{name}")]
    return same[0] if len(same) == 1 else name


def _some(files: dict[str, Path]) -> str:
    """The first three names and how many more there are."""
    names = sorted(files)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
