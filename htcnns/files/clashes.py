"""Files to be written whose place is taken: by another such file, by a file that is read, or by a file of the user."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from htcnns.errors import SettingsError
from htcnns.files.outputs import CaseOutputs
from htcnns.files.own import is_own
from htcnns.files.places import resolved


@dataclass(frozen=True)
class Clash:
    """A file that cannot be written because another has its place.

    Attributes:
        case: name of the case whose file it is; empty for the report of the run.
    """

    case: str
    error: SettingsError


def mask_clashes(cases: Iterable[CaseOutputs]) -> Iterator[Clash]:
    """A clash for each of two cases that would write the same mask."""
    owners: dict[Path, str] = {}
    for each in cases:
        owner, name = owners.setdefault(each.mask, each.case.name), each.case.name
        if owner != name:
            error = SettingsError(
                "two cases would write one mask",
                place=each.mask.name,
                found=f"{owner} and {name}",
                expected="one case per mask",
                remedy="Put them into different input folders.",
            )
            yield from (Clash(owner, error), Clash(name, error))


def report_clashes(cases: Iterable[CaseOutputs]) -> Iterator[Clash]:
    """A clash for each report file that would replace a file that no run wrote, such as notes named after the case."""
    for each in cases:
        for path in each.report.paths if each.report else ():
            # checked again, as another run into this folder may have removed it meanwhile
            if os.path.isfile(path) and not is_own(path) and os.path.isfile(path):
                error = SettingsError(
                    "is not from a run, and would be replaced",
                    place=path,
                    setting="report",
                    expected="a folder for reports only",
                    remedy="Give another folder, or move the file away.",
                )
                yield Clash(each.case.name, error)


def clashes(cases: Iterable[CaseOutputs], *, report: Path | None, read: Mapping[Path, str]) -> Iterator[Clash]:
    """A clash for each file to be written that is another such file or one that is read, even by a different path.

    Args:
        read: description of each other file that the run reads, in addition to the scans and truths of the cases.
    """
    cases = tuple(cases)
    folders: dict[Path, Path] = {}
    owners = {key: what for path, what in read.items() for key in _keys(path, folders)}
    for each in cases:
        for file in filter(None, (*each.case.files.values(), each.case.truth)):
            owners |= dict.fromkeys(_keys(file, folders), f"a scan or truth of {each.case.name}")
    written = [(path, each.case.name) for each in cases for path in each.paths]
    written += [(report, "")] if report else []
    for path, name in written:
        what = f"an output of {name}" if name else "the report"
        keys = _keys(path, folders)
        owner = next((owners[key] for key in keys if key in owners), None)
        if owner:
            error = SettingsError(
                f"is {owner}, and {what} would overwrite it",
                place=path,
                setting="report" if path == report else "",
                expected="a new file",
                remedy="Give another folder or name.",
            )
            yield Clash(name, error)
        else:
            owners |= dict.fromkeys(keys, what)


def require_no_scan(cases: Iterable[CaseOutputs], *, report: Path | None = None) -> None:
    """Raise SettingsError where a file to be written is a scan or truth of any case, or another file to be written."""
    for clash in clashes(cases, report=report, read={}):
        raise clash.error


def _keys(path: Path, folders: dict[Path, Path]) -> set[Path]:
    """The resolved paths that identify a file: where a link leads, and its own name, as a link can be replaced.

    Args:
        folders: resolved path of each folder seen before; filled in here.
    """
    if path.parent not in folders:
        folders[path.parent] = resolved(path.parent)
    place = folders[path.parent] / path.name
    return {place, resolved(place)} if os.path.islink(place) else {place}
