"""Members of several weights folders copied into one, so that a run fuses them."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from htcnns.errors import SettingsError, WeightsError, require_known
from htcnns.files.atomic import require_folder_place, require_writable, sweep
from htcnns.files.digests import sha256_of_any
from htcnns.files.folder import entries
from htcnns.files.manifest import MANIFEST, chosen_weights, read_manifest, write_manifest
from htcnns.files.member import Member, WeightsFile
from htcnns.files.places import is_file, is_folder
from htcnns.files.regular_file import read_regular
from htcnns.files.weights import verify_file, write_weights
from htcnns.networks.limits import MOST_FILE_BYTES
from htcnns.runs.ensemble import require_fusable_members, require_room


def join_weights(folders: Iterable[Path], out: Path) -> tuple[Member, ...]:
    """Copy members into a new folder, in the order given, and return the copies.

    Each keeps its name, rules and file names, except for a file whose name is already taken. Nothing is written until
    every file is verified, and the manifest is written last; an interrupted call can be repeated.

    Args:
        folders: weights folders for all of their members, or `folder/name` for one member; also the names of shipped
            sets, as for `chosen_weights`. At least one.
        out: a new or empty folder.

    Raises:
        SettingsError: no such member, two of one name, members that no run could fuse, or a folder that is not empty.
        WeightsError: a folder without weights, or weights that do not pass verification.
        OutputError: a folder that cannot be written.
    """
    members = tuple(member for given in folders for member in _members_of(given))
    _require_names(members)
    _require_fused(members)
    joined = _with_places(members, out)
    _require_place(out, joined)
    for member in members:
        for file in member.files:
            verify_file(member, file)
    require_writable(out)
    for file, copy in zip(_files(members), _files(joined), strict=True):
        written = write_weights(copy.path, read_regular(file.path, most_bytes=MOST_FILE_BYTES))
        if written.sha256 != file.sha256:
            raise WeightsError(
                "changed while it was copied", place=file.path, remedy="Restore it, and join into a new folder."
            )
    write_manifest(out, joined)
    return joined


def _members_of(given: Path) -> tuple[Member, ...]:
    """All members of a folder, or the one that a path into it names."""
    folder = chosen_weights(given)
    above = chosen_weights(given.parent)
    if is_file(folder / MANIFEST) or not is_file(above / MANIFEST):
        return read_manifest(folder, setting="")
    members = {member.name: member for member in read_manifest(above)}
    require_known(given.name, members, what="member", place=above)
    return (members[given.name],)


def _require_names(members: tuple[Member, ...]) -> None:
    names = [member.name for member in members]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(
            f"two members are called {twice[0]}",
            found=", ".join(names),
            expected="a name of its own for each",
            remedy="Name the members to take, each as FOLDER/MEMBER.",
        )


def _require_fused(members: tuple[Member, ...]) -> None:
    """Raise SettingsError or WeightsError where no run could fuse them."""
    try:
        require_fusable_members(members)
        require_room(members)
    except SettingsError as error:  # its setting does not exist here
        raise SettingsError(
            error.problem, found=error.found, expected=error.expected, remedy="Name others, each as FOLDER/MEMBER."
        ) from error


def _with_places(members: tuple[Member, ...], out: Path) -> tuple[Member, ...]:
    """The members with their files in that folder, under names that differ even if letter case is ignored."""
    taken: set[str] = set()

    def placed(file: WeightsFile) -> WeightsFile:
        name, n = file.path.name, 1
        while name.casefold() in taken:
            n += 1
            name = f"{file.path.stem}-{n}{file.path.suffix}"
        taken.add(name.casefold())
        return replace(file, path=out / name)

    return tuple(replace(member, files=tuple(map(placed, member.files))) for member in members)


def _files(members: tuple[Member, ...]) -> list[WeightsFile]:
    return [file for member in members for file in member.files]


def _require_place(out: Path, joined: tuple[Member, ...]) -> None:
    """Raise an error unless the folder is new, empty, or holds only files that would be written there as they are."""
    require_folder_place(out, setting="out")
    if not is_folder(out):
        return
    sweep(out)
    planned = {file.path.name: file.sha256 for file in _files(joined)}
    for path in entries(out, expected="a folder", remedy="Give another folder."):
        if planned.get(path.name) != sha256_of_any(path):
            raise SettingsError(
                f"holds {path.name}",
                setting="out",
                place=out,
                expected="a new or empty folder",
                remedy="Give another folder.",
            )
