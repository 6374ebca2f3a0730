"""A walk through an input folder that visits each folder once and never follows a link upwards."""

import os
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from htcnns.errors import InputError
from htcnns.files.places import resolved

_RECOVERED = "lost+found"  # at the top of every ext4 disk, readable by root only


@dataclass(frozen=True)
class Listing:
    """The content of a folder, sorted by name.

    Attributes:
        files: regular files, and links to them.
        odd: entries that are neither file nor folder, such as broken links, each with what it is in words.
        is_empty: whether the folder has no entries but hidden ones.
        fault: why the folder could not be listed; None where it was.
    """

    folder: Path
    files: tuple[Path, ...] = ()
    odd: tuple[tuple[Path, str], ...] = ()
    is_empty: bool = False
    fault: InputError | None = None


def walk(root: Path, *, skip: Collection[Path] = ()) -> Iterator[Listing]:
    """Each folder's listing; linked folders come last, so that a folder is reached under its own name first.

    Hidden files and folders, `lost+found` and links that lead to `root` or above it are ignored.

    Args:
        skip: folders that are left out, such as the output folder; `root` itself never is.

    Raises:
        InputError: `root` itself cannot be listed.
    """
    top = resolved(root)
    skipped = {resolved(folder) for folder in skip}
    seen: set[tuple[int, int]] = set()
    waiting, linked = [root], list[Path]()
    while waiting or linked:
        folder = waiting.pop() if waiting else linked.pop(0)
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            folders, links, listing = _list(folder)
        except OSError as error:
            fault = _cannot_be_listed(folder, error)
            if folder == root:
                raise fault from error
            yield Listing(folder, fault=fault)
            continue
        seen.add((status.st_dev, status.st_ino))
        yield listing
        waiting += [inner for inner in reversed(folders) if not skipped or resolved(inner) not in skipped]
        linked += [link for link in links if resolved(link) not in skipped and not top.is_relative_to(resolved(link))]


def _list(folder: Path) -> tuple[list[Path], list[Path], Listing]:
    """Folders and links to folders in a folder, and its listing."""
    folders: list[Path] = []
    links: list[Path] = []
    files: list[Path] = []
    odd: list[tuple[Path, str]] = []
    with os.scandir(folder) as scan:
        entries = sorted((entry for entry in scan if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in entries:
        path = folder / entry.name
        what = _what(entry)
        if what == "folder":
            if entry.name != _RECOVERED:
                (links if entry.is_symlink() else folders).append(path)
        elif what == "file":
            files.append(path)
        else:
            odd.append((path, what))
    return folders, links, Listing(folder, tuple(files), tuple(odd), is_empty=not entries)


def _what(entry: os.DirEntry[str]) -> str:
    """What an entry is, links followed: "folder", "file", or in words what else it is."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        mode = entry.stat().st_mode
    except OSError as error:
        if isinstance(error, FileNotFoundError) or entry.is_symlink():
            return f"a link that leads nowhere ({error.strerror})"
        return f"not accessible ({error.strerror})"
    return "a pipe" if stat.S_ISFIFO(mode) else "not a regular file"


def _cannot_be_listed(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot be listed ({error.strerror or error})",
        place=folder,
        expected="a readable folder",
        remedy="Make it readable or move it away.",
    )
