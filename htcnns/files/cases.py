"""Cases in a folder: which file is which sequence of which case, how each case is named, and what is missing."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from htcnns.errors import InputError
from htcnns.files.case import Case, Leftover
from htcnns.files.case_folder import cases_in
from htcnns.files.names import words
from htcnns.files.names.brats import NAMINGS
from htcnns.files.own import is_own
from htcnns.files.places import absence, exists, is_folder, resolved
from htcnns.files.walk import walk
from htcnns.labels import Sequence


@dataclass(frozen=True)
class Search:
    """The result of a search for cases.

    Attributes:
        cases: sorted by name, or in the order of a list, each name once; incomplete and unclear (with a fault) too.
        leftovers: files and folders that look like a scan or a case but belong to none.
        folders: every folder that was searched, links followed.
    """

    cases: tuple[Case, ...]
    leftovers: tuple[Leftover, ...]
    folders: frozenset[Path] = frozenset()

    def require_clear(self) -> None:
        """Raise the fault of the first case that has one, or InputError where no case has any scan."""
        for case in self.cases:
            if case.fault:
                raise case.fault
        if not any(case.files for case in self.cases):
            self.cases[0].require_complete()


def find_cases(
    root: Path, *, channels: tuple[Sequence, ...] | None = None, skip: Collection[Path] = ()
) -> tuple[Case, ...]:
    """The cases of `search`, sorted by name, incomplete ones included.

    Raises:
        InputError: as in `search`, or a case is unclear or has no scan that can be read.
    """
    found = search(root, channels=channels, skip=skip)
    found.require_clear()
    for case in found.cases:
        if not case.files:
            case.require_complete()
    return found.cases


def search(root: Path, *, channels: tuple[Sequence, ...] | None = None, skip: Collection[Path] = ()) -> Search:
    """Every case below `root`, which may itself be a case, and whatever else there looks like a scan or a case.

    Hidden files and folders are ignored; links are followed, each folder once, but never to `root` or above it. An
    unclear case has a fault, such as two files for one sequence, two cases of one name, channels in an unknown order
    or a folder that cannot be listed.

    Args:
        channels: order of nnU-Net's channels 0000, 0001, …; None reads `dataset.json` in their folder or the one above.
        skip: folders below `root` that are not searched, such as the one that masks are written to.

    Raises:
        InputError: `root` is no readable folder or holds no case.
    """
    if not is_folder(root):
        raise InputError(
            "is a file" if exists(root) else absence(root),
            place=root,
            expected="a folder of cases",
            remedy="Give the folder that holds the scans.",
        )
    cases: list[Case] = []
    leftovers: list[Leftover] = []
    folders: list[Path] = []
    kinds: Counter[str] = Counter()
    for listing in walk(root, skip=skip):
        found, rest = cases_in(listing, channels)
        cases += found
        leftovers += rest
        folders.append(resolved(listing.folder))
        kinds.update("NIfTI" if words.stem(file.name) else file.suffix or "without ending" for file in listing.files)
    if not cases:
        raise _no_case(root, leftovers, kinds)
    cases.sort(key=lambda case: case.name)
    once = [_one_of_a_name(list(group), leftovers) for _, group in groupby(cases, key=lambda case: case.name)]
    return Search(tuple(once), tuple(leftovers), frozenset(folders))


def holds_foreign_case(folder: Path, *, channels: tuple[Sequence, ...] | None = None) -> bool:
    """Whether a folder that runs write to also holds a case, even an incomplete or unclear one.

    The masks of runs do not count, although one named after its case may look like a scan, such as P7_t1.nii.gz.
    """
    try:
        found = search(folder, channels=channels)
    except InputError:  # no case there
        return False
    return any(map(_is_foreign, found.cases))


def holds_no_file(root: Path, *, skip: Collection[Path] = ()) -> bool:
    """Whether a folder holds no files, hidden ones aside, at any depth; raises InputError where it cannot be listed."""
    return not any(listing.files or listing.odd for listing in walk(root, skip=skip))


def _is_foreign(case: Case) -> bool:
    """Whether a file of the case was not written by a run, or this cannot be known."""
    files = list(case.files.values()) or [path for path in case.folder.glob("*") if words.stem(path.name)]
    return bool(case.unread) or not files or not all(map(is_own, files))


def _one_of_a_name(cases: list[Case], leftovers: list[Leftover]) -> Case:
    """The case to keep of a name: at fault where several have scans, else the others are added to `leftovers`."""
    with_scans = [case for case in cases if case.files]
    if len(with_scans) > 1:
        one, other = with_scans[:2]
        fault = InputError(
            f"two cases of this name, {one.naming} in {one.folder} and {other.naming} in {other.folder}",
            place=one.name,
            expected="one, as the mask is named after the case",
            remedy="Rename one or give the folders one by one.",
        )
        return replace(one, fault=fault)
    chosen = (with_scans or cases)[0]
    for case in cases:
        if case is not chosen:
            leftovers.append(Leftover(case.folder, f"a second case called {case.name}, with no readable scan"))
    return chosen


def _no_case(root: Path, leftovers: list[Leftover], kinds: Counter[str]) -> InputError:
    """The error for a folder without a case; it reports what lies there instead."""
    nifti = next((leftover for leftover in leftovers if words.stem(leftover.path.name)), None)
    such = f" (such as {nifti.path.name}: {nifti.reason})" if nifti else ""
    return InputError(
        "no case",
        place=root,
        found=(", ".join(f"{n} {kind}" for kind, n in kinds.most_common(4)) or "nothing") + such,
        expected=f"NIfTI files named like {', '.join(naming.example for naming in NAMINGS)}",
        remedy="Rename them like these, or give each case a folder with t1n, t1c, t2w and t2f as words in file names.",
    )
