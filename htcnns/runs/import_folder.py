"""A folder of imported members: its contents, and whether another member can be added without losing anything."""

import hashlib
from dataclasses import dataclass, fields, replace
from pathlib import Path

from htcnns.errors import InputError, SettingsError
from htcnns.files.atomic import sweep
from htcnns.files.folder import entries
from htcnns.files.manifest import MANIFEST, read_manifest
from htcnns.files.member import Member, WeightsFile
from htcnns.files.places import is_folder
from htcnns.files.regular_file import read_regular
from htcnns.networks.limits import MOST_FILE_BYTES, MOST_MEMBERS

MARK = "imported as"  # key in `trained_on` that marks imported members
SOURCES = "imported from"


@dataclass(frozen=True)
class ImportFolder:
    """The contents of a folder.

    Attributes:
        path: path of the folder, which need not exist.
        members: members in its manifest.
        others: names of everything else in it.
    """

    path: Path
    members: tuple[Member, ...] = ()
    others: frozenset[str] = frozenset()

    def with_member(self, member: Member) -> tuple[Member, ...]:
        """The manifest's members once this one is added; it replaces one of the same name."""
        return (*(other for other in self.members if other.name != member.name), member)


def found_in(folder: Path) -> ImportFolder:
    """The contents of a folder, after removing what a killed import left half written.

    Raises:
        SettingsError: it holds members that were not imported.
        InputError, WeightsError: a folder that cannot be listed, a manifest that cannot be read.
    """
    if not is_folder(folder):
        return ImportFolder(folder)
    sweep(folder)
    found = {path.name for path in entries(folder, expected="a folder", remedy="Give another folder.")}
    members = read_manifest(folder, setting="out") if MANIFEST in found else ()
    _require_none([member.name for member in members if MARK not in member.trained_on], folder)
    known = {MANIFEST, *(file.path.name for member in members for file in member.files)}
    return ImportFolder(folder, members, frozenset(found - known))


def require_place(there: ImportFolder, name: str, files: tuple[str, ...]) -> None:
    """Raise SettingsError unless a member of that name, with files of those names, could be written there.

    This check comes before the checkpoints are read; `require_no_loss` needs their content.
    """
    _require_none(sorted(there.others.difference(files)), there.path)
    names = {member.name for member in there.members} | {name}
    if len(names) > MOST_MEMBERS:
        raise SettingsError(
            "has no room for another member",
            setting="out",
            place=there.path,
            found=f"{len(there.members)} members",
            expected=f"at most {MOST_MEMBERS} with the new one",
            remedy="Give another folder.",
        )


def require_no_loss(there: ImportFolder, member: Member) -> None:
    """Raise SettingsError if writing the member would replace anything that differs from it."""
    _require_replaced_by_itself(there, member)
    left = [file for file in member.files if file.path.name in there.others]
    _require_none([file.path.name for file in left if not _is_written(file)], there.path)


def _require_none(others: list[str], folder: Path) -> None:
    """Raise SettingsError if a folder holds others that were not imported, naming the first of them."""
    if others:
        raise SettingsError(
            f"holds {others[0]}, which was not imported",
            setting="out",
            place=folder,
            expected="a new or empty folder, or one with imported members only",
            remedy="Give another folder.",
        )


def _is_written(file: WeightsFile) -> bool:
    """Whether a file already has its content, as after an interrupted import."""
    try:
        content = read_regular(file.path, most_bytes=MOST_FILE_BYTES)
    except InputError:
        return False
    return hashlib.sha256(content).hexdigest() == file.sha256


def _require_replaced_by_itself(there: ImportFolder, member: Member) -> None:
    """Raise SettingsError if a different member has that name or one of its file names, and would be lost."""
    names = {file.path.name for file in member.files}
    for other in there.members:
        theirs = [file.path.name for file in other.files]
        differs = _differences(other, member)
        if differs and (other.name == member.name or names.intersection(theirs)):
            raise SettingsError(
                f"a different member {other.name} is already there",
                setting="name",
                found=f"{', '.join(theirs[:3])} with other {', '.join(differs)}",
                expected="a name of its own for each member",
                remedy="Give another name or folder.",
            )


def _differences(member: Member, other: Member) -> list[str]:
    """The fields in which two members differ, in words; the folders of their checkpoints may differ."""
    a, b = _without_folders(member), _without_folders(other)
    names = [each.name for each in fields(Member) if getattr(a, each.name) != getattr(b, each.name)]
    return [name.replace("_", " ") for name in names]


def _without_folders(member: Member) -> Member:
    """The member with the names of its checkpoints without their folders."""
    sources = member.trained_on.get(SOURCES)
    bare = [str(each).rpartition("/")[2] for each in sources] if isinstance(sources, list) else sources
    return replace(member, trained_on={**member.trained_on, SOURCES: bare})
