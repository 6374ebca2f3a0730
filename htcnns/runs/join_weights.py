"""Members of several weights folders copied into one, so that a run fuses them."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from htcnns.errors import SettingsError, WeightsError, require_known
from htcnns.files.atomic import require_writable, sweep
from htcnns.files.folder import entries
from htcnns.files.manifest import MANIFEST, choose_members, chosen_weights, read_manifest, write_manifest
from htcnns.files.member import Member, WeightsFile
from htcnns.files.places import is_file, is_folder
from htcnns.files.regular_file import read_regular
from htcnns.files.weights import require_few_bytes, verify_file, write_weights
from htcnns.networks.limits import MOST_FILE_BYTES
from htcnns.runs.ensemble import require_fusable_members


def join_weights(folders: Iterable[Path], out: Path) -> tuple[Member, ...]:
    """Copy members into a folder of their own, in the order in which they are given; they are what it returns.

    Each keeps its name, its rules and its files' names, but for a file whose name another one has already. Nothing is
    written before every file was verified.

    Args:
        folders: weights folders, each for all of its members, or one member as `folder/name`; also the names of shipped
            sets.
        out: a new or empty folder.

    Raises:
        SettingsError: no such member, two of one name, members that cannot be fused, or a folder that is not empty.
        WeightsError: a folder without weights, or weights that do not pass verification.
        OutputError: a folder that cannot be written.
    """
    members = tuple(member for given in folders for member in _members_of(given))
    _require_names(members)
    require_fusable_members(members)
    require_few_bytes(members)
    _require_empty(out)
    for member in members:
        for file in member.files:
            verify_file(member, file)
    require_writable(out)
    taken: set[str] = set()
    joined = tuple(replace(m, files=tuple(_copied(file, out, taken) for file in m.files)) for m in members)
    write_manifest(out, joined)
    return joined


def _members_of(given: Path) -> tuple[Member, ...]:
    """All members of a folder, or the one that a path into it names."""
    folder = chosen_weights(given)
    above = chosen_weights(given.parent)
    if is_file(folder / MANIFEST) or not is_file(above / MANIFEST):
        return read_manifest(folder, setting="")
    members = read_manifest(above)
    require_known(given.name, [member.name for member in members], what="member", place=above)
    return choose_members(members, (given.name,))


def _require_names(members: tuple[Member, ...]) -> None:
    names = [member.name for member in members]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(
            f"two members are called {twice[0]}",
            found=", ".join(names),
            expected="a name of its own for each",
            remedy="Name those that are to be taken, each as FOLDER/MEMBER.",
        )


def _require_empty(out: Path) -> None:
    """Raise SettingsError where a folder holds anything but what a killed run left half written."""
    if not is_folder(out):
        return
    sweep(out)
    there = entries(out, expected="a folder", remedy="Give another folder.")
    if there:
        raise SettingsError(
            f"holds {there[0].name}",
            setting="out",
            place=out,
            expected="a new or empty folder",
            remedy="Give another folder.",
        )


def _copied(file: WeightsFile, out: Path, taken: set[str]) -> WeightsFile:
    """A file's copy, under a name that is free; adds it to those that are taken."""
    stem, n = file.path.stem, 1
    while (name := f"{stem}{file.path.suffix}" if n == 1 else f"{stem}-{n}{file.path.suffix}") in taken:
        n += 1
    taken.add(name)
    written = write_weights(out / name, read_regular(file.path, most_bytes=MOST_FILE_BYTES))
    if written.sha256 != file.sha256:
        raise WeightsError("changed while it was copied", place=file.path, remedy="Join them again.")
    return written
