"""The files that a case's run writes: where each goes, and that none has an impossible name or costs a scan."""

import errno
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from htcnns.errors import InputError, SettingsError
from htcnns.files.cases import Case
from htcnns.labels import Region


@dataclass(frozen=True)
class Targets:
    """Where the files of one case go.

    Attributes:
        maps: a probability map of each region; empty unless asked for.
        picture: None unless asked for.
    """

    case: Case
    mask: Path
    maps: dict[Region, Path]
    picture: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them, the mask first."""
        return (self.mask, *self.maps.values(), *([self.picture] if self.picture else []))


def is_too_long(path: Path) -> bool:
    """Whether the file system takes no file of that name."""
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False


def require_possible_names(targets: Targets) -> None:
    """Raise InputError where the case's name is too long for one of its files."""
    for path in filter(is_too_long, targets.paths):
        raise InputError(
            f"{targets.case.name}: too long a name; the file to be written has one of {len(os.fsencode(path.name))} "
            f"bytes, more than fits in {path.parent}. Give the case a shorter name."
        )


def require_different_masks(targets: Iterable[Targets]) -> None:
    """Raise SettingsError where two cases would write one mask."""
    owners: dict[Path, str] = {}
    for each in targets:
        if each.mask in owners:
            raise SettingsError(
                f"{each.mask.name}: both {owners[each.mask]} and {each.case.name} would write it; expected one case "
                "a mask. Put them into different input folders."
            )
        owners[each.mask] = each.case.name


def require_no_scan(targets: Iterable[Targets], *, report: Path | None = None) -> None:
    """Raise SettingsError where a file to be written is a scan or a truth of any of the cases, by whatever path."""
    targets = tuple(targets)
    owners = {
        key: each.case.name
        for each in targets
        for file in (*each.case.files.values(), each.case.truth)
        if file
        for key in _keys(file)
    }
    written = [(path, f"what {each.case.name} gives") for each in targets for path in each.paths]
    written += [(report, "--report")] if report else []
    for path, what in written:
        owner = next((owners[key] for key in _keys(path) if key in owners), None)
        if owner:
            raise SettingsError(
                f"{path}: is a scan or truth of {owner}, and {what} would be written over it; expected a new file. "
                "Give another folder or name."
            )


def _keys(path: Path) -> set[str]:
    """What a file is known by: where links lead to, and where the name itself stands, as a link can be replaced."""
    return {os.path.realpath(path), os.path.join(os.path.realpath(path.parent), path.name)}
