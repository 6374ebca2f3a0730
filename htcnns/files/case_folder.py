"""The cases whose files lie in one folder, and what else lies there."""

import os
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from htcnns.errors import InputError
from htcnns.files.case import Case, Leftover
from htcnns.files.names import words
from htcnns.files.names.brats import Convention, is_brats_case, read_brats
from htcnns.files.names.dataset_json import channel_order, read_channels, read_nnunet, sequence_of
from htcnns.files.names.formats import is_archive, is_dicom, scan_stem, unread_format
from htcnns.files.names.free import NameReading, read_names, two_cases
from htcnns.files.walk import Listing
from htcnns.labels import Sequence

_Unread = tuple[Path, str]  # a file and why it is no scan
_DICOM_START, _DICOM_MARK = 128, b"DICM"  # DICOM, part 10: a preamble of 128 bytes, then the mark


def cases_in(listing: Listing, channels: tuple[Sequence, ...] | None) -> tuple[list[Case], list[Leftover]]:
    """The cases whose files lie directly in this folder, and what else there looks like a scan or a case.

    A problem with one case becomes the `fault` of that case only.

    Args:
        channels: order of nnU-Net's channels; None reads `dataset.json`.
    """
    folder = listing.folder
    if listing.fault:
        return [_unclear(name_of(folder), folder, listing.fault)], []
    files = [file for file in listing.files if words.stem(file.name)]
    unread = _unread_files(listing)
    order, faults = ((), {}) if words.is_mask_folder(folder.name) else _channel_order(folder, files, channels)
    named = _named(folder, files, order, faults)
    cases = [*_assemble(folder, named, order), *(_unclear(name, folder, fault) for name, fault in faults.items())]
    cases = _with_unread(cases, folder, _named(folder, [path for path, _ in unread], (), {}), dict(unread))
    taken = {name.path for name in named if name.sequence}
    rest = [file for file in files if file not in taken]
    return cases, [*_leftovers(cases, files, rest, set(faults)), *_odd_ones(listing, cases, unread)]


def name_of(folder: Path) -> str:
    """The folder's own name, however it was reached."""
    return os.path.basename(os.path.abspath(folder)) or "case"  # only "/" has no name


@dataclass(frozen=True)
class _NamedFile:
    """A file whose name was understood; the sequence of a truth is None."""

    path: Path
    case: str
    naming: Convention
    sequence: Sequence | None


def _unclear(name: str, folder: Path, fault: InputError) -> Case:
    """A case of which only the name, the folder and the fault are known."""
    return Case(name=name, files={}, naming=Convention.FREE, folder=folder, flat=False, fault=fault)


def _channel_order(
    folder: Path, files: list[Path], channels: tuple[Sequence, ...] | None
) -> tuple[tuple[Sequence, ...], dict[str, InputError]]:
    """The order of nnU-Net's channels and, if unknown, each case's fault; both empty where no file is named so."""
    read = read_channels(map(_stem, files))
    if not read:
        return (), {}
    try:
        return channels or channel_order(folder), {}
    except InputError as error:
        return (), {case: error for case, _ in read.values()}


def _named(
    folder: Path, files: list[Path], order: tuple[Sequence, ...], faults: dict[str, InputError]
) -> list[_NamedFile]:
    """The files whose names identify a scan or truth of a case; adds cases that the order does not fit to `faults`."""
    named = _read_strict(files, order, faults)
    if not any(name.sequence for name in named) and not words.is_mask_folder(folder.name) and not faults:
        readings = read_names([_stem(file) for file in files])
        named = [name for file in files if (name := _read_free(file, folder, readings[_stem(file)]))]
    return named


def _read_strict(files: list[Path], order: tuple[Sequence, ...], faults: dict[str, InputError]) -> list[_NamedFile]:
    """The files with a BraTS name or, where the order of channels is known, an nnU-Net name; adds to `faults`."""
    nnunet = read_channels(map(_stem, files), order) if order else {}
    named = []
    for file in files:
        if brats := read_brats(_stem(file)):
            naming, case, sequence = brats
            named.append(_NamedFile(file, case, naming, sequence))
        elif _stem(file) in nnunet:
            case, channel = nnunet[_stem(file)]
            try:
                named.append(_NamedFile(file, case, Convention.NNUNET, sequence_of(channel, order, file=file)))
            except InputError as error:
                faults.setdefault(case, error)
    return [name for name in named if name.case not in faults]


def _read_free(file: Path, folder: Path, reading: NameReading) -> _NamedFile | None:
    """The file as a scan or truth of the case named after the folder; None where it is neither."""
    if reading.sequence or (reading.is_mask and words.is_segmentation(_stem(file))):
        return _NamedFile(file, name_of(folder), Convention.FREE, reading.sequence)
    return None


def _assemble(folder: Path, named: list[_NamedFile], channels: tuple[Sequence, ...]) -> Iterator[Case]:
    """The cases that the files of a folder make up; truths without scans make none."""
    groups: dict[tuple[str, Convention], list[_NamedFile]] = defaultdict(list)
    for name in named:
        groups[name.case, name.naming].append(name)
    for (case, naming), members in groups.items():
        files: dict[Sequence, Path] = {}
        for name in members:
            if name.sequence:
                files.setdefault(name.sequence, name.path)
        truths = [name.path for name in members if name.sequence is None]
        if files:
            yield Case(
                name=case,
                files=files,
                naming=naming,
                folder=folder,
                flat=name_of(folder) != case,
                channels=channels if naming is Convention.NNUNET else (),
                truth=truths[0] if len(truths) == 1 else None,
                fault=_two_files(folder, members) or _two_patients(folder, files, naming),
            )


def _two_files(folder: Path, members: list[_NamedFile]) -> InputError | None:
    """The fault of a case with two files for one sequence, else None."""
    first: dict[Sequence, Path] = {}
    for name in members:
        if name.sequence and first.setdefault(name.sequence, name.path) != name.path:
            return InputError(
                f"two files for {name.sequence} of {name.case}: {first[name.sequence].name} and {name.path.name}",
                place=folder,
                expected="one",
                remedy="Move one away, or give each case a folder of its own.",
            )
    return None


def _two_patients(folder: Path, files: dict[Sequence, Path], naming: Convention) -> InputError | None:
    """The fault where freely named scans of two patients share a folder, else None; strict names cannot be mixed up."""
    scans = {_stem(path): path.name for path in files.values()}
    if naming is Convention.FREE and (pair := two_cases(list(scans))):
        one, other = (scans[stem] for stem in pair)
        return InputError(
            f"{one} and {other} are named like two different cases",
            place=folder,
            expected="the scans of one case, as free names do not name the case",
            remedy="Give each case a folder of its own, or name its files alike.",
        )
    return None


def _unread_files(listing: Listing) -> list[_Unread]:
    """Files that are named as scans but cannot be read as such, and why."""
    by_format = [(file, kind) for file in listing.files if (kind := unread_format(file.name))]
    return by_format + [(path, what) for path, what in listing.odd if scan_stem(path.name)]


def _with_unread(cases: list[Case], folder: Path, named: list[_NamedFile], why: dict[Path, str]) -> list[Case]:
    """`cases`, changed in place: unread files are added, and cases of which no scan can be read are appended.

    A single freely named file may be a stray, so an appended case of free naming needs two sequences and no
    other case beside it.
    """
    of_case: dict[str, dict[Sequence, _NamedFile]] = defaultdict(dict)
    for name in reversed(named):
        if name.sequence:
            of_case[name.case][name.sequence] = name
    for n, case in enumerate(cases):
        found = of_case.pop(case.name, {})
        unread = tuple((name.path, why[name.path]) for key, name in found.items() if key in case.missing)
        cases[n] = replace(case, unread=tuple(sorted(unread)))
    for case_name, found in of_case.items():
        naming = next(iter(found.values())).naming
        if naming is not Convention.FREE or (len(found) > 1 and not cases):
            cases.append(
                Case(
                    name=case_name,
                    files={},
                    naming=naming,
                    folder=folder,
                    flat=name_of(folder) != case_name,
                    unread=tuple(sorted((name.path, why[name.path]) for name in found.values())),
                )
            )
    return cases


def _leftovers(cases: list[Case], files: list[Path], rest: list[Path], unclear: set[str]) -> Iterator[Leftover]:
    """The leftovers among `rest`, NIfTI files that are no scan of a case: those that are no truth or mask either."""
    readings = read_names([_stem(file) for file in files])
    truths = {case.truth for case in cases}
    owned = _Starts(cases)
    for file in rest:
        reading = readings[_stem(file)]
        if file in truths or (owned.has(file) and (reading.is_mask or words.is_segmentation(_stem(file)))):
            continue
        if unclear and (nnunet := read_nnunet(_stem(file))) and nnunet[0] in unclear:
            continue  # a file of a case whose fault is already reported
        if leftover := _leftover(file, reading):
            yield leftover


class _Starts:
    """Tests whether a file name begins with a case's name, ignoring capitals and separators; quick for many cases."""

    def __init__(self, cases: Iterable[Case]) -> None:
        self._is_free = False
        names: set[str] = set()
        for case in cases:
            self._is_free |= case.naming is Convention.FREE
            names.add(words.letters(case.name))
        self._lengths = sorted(set(map(len, names)))
        self._names = names

    def has(self, file: Path) -> bool:
        """Whether the file may belong to one of the cases; always True where a case is freely named."""
        name = words.letters(file.name)
        lengths = self._lengths[: bisect_right(self._lengths, len(name))]
        return self._is_free or any(name[:length] in self._names for length in lengths)


def _leftover(file: Path, reading: NameReading) -> Leftover | None:
    """The file as a leftover, with the reason; None for a label map in a folder of label maps."""
    if words.is_mask_folder(file.parent.name):
        return Leftover(file, f"in {file.parent.name}, a folder of label maps") if reading.sequence else None
    if reading.sequence:
        return Leftover(file, "named differently from the cases beside it", is_near_miss=True)
    if read_nnunet(_stem(file)) and not reading.is_mask:
        return Leftover(file, f"{reading.reason}; an nnU-Net case has several channels, 0000 among them")
    return Leftover(file, reading.reason)


def _odd_ones(listing: Listing, cases: list[Case], unread: list[_Unread]) -> Iterator[Leftover]:
    """Leftovers that look like a scan or a case, or may contain some, but cannot be read; one for all DICOM files."""
    said = {path for case in cases for path, _ in case.unread}
    for path, reason in unread:
        if path not in said:
            yield Leftover(path, f"{reason}; convert it to .nii.gz" if unread_format(path.name) else reason)
    for path, what in listing.odd:
        if not scan_stem(path.name):  # such as a broken link to a case's folder, which may have any name
            yield Leftover(path, what)
    for file in listing.files:
        if is_archive(file.name):
            yield Leftover(file, "an archive; unpack it if it holds scans")
    if n_dicom := sum(map(_is_dicom, listing.files)):
        yield Leftover(listing.folder, f"{n_dicom} DICOM file{'s' * (n_dicom > 1)} in it, to be converted to .nii.gz")
    if listing.is_empty and is_brats_case(name_of(listing.folder)):
        yield Leftover(listing.folder, "an empty folder with the name of a case")


def _is_dicom(file: Path) -> bool:
    """Whether the file is DICOM by its name, or by its content where the name does not say."""
    by_name = is_dicom(file.name)
    if by_name is not None:
        return by_name
    try:
        with file.open("rb") as stream:
            return stream.read(_DICOM_START + len(_DICOM_MARK))[_DICOM_START:] == _DICOM_MARK
    except OSError:
        return False  # a file that cannot be read counts as not DICOM


def _stem(file: Path) -> str:
    return scan_stem(file.name) or file.name
