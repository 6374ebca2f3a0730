"""A walk through the folder of an input: each folder once, and never out of it by a link upwards."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from htcnns.errors import InputError

_RECOVERED = "lost+found"  # at the top of every ext4 disk, readable by root only


def walk(root: Path, *, skip: Collection[Path] = ()) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder with its files, both sorted; linked folders come last, so that a folder is met by its own name first.

    Hidden files and folders, `lost+found` and links that lead to `root` or above it are ignored.

    Args:
        skip: folders that are left out, such as the output folder; `root` itself never is.

    Raises:
        InputError: a folder that cannot be read.
    """
    skipped = {folder.resolve() for folder in skip}
    seen: set[tuple[int, int]] = set()
    waiting, linked = [root], list[Path]()
    while waiting or linked:
        folder = waiting.pop() if waiting else linked.pop(0)
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            folders, links, files = _list(folder)
        except OSError as error:
            raise InputError(
                f"cannot be listed ({error.strerror or error})",
                place=folder,
                expected="a readable folder",
                remedy="Give reading rights or move it away.",
            ) from error
        seen.add((status.st_dev, status.st_ino))
        yield folder, files
        waiting += [inner for inner in reversed(folders) if not skipped or inner.resolve() not in skipped]
        linked += [link for link in links if link.resolve() not in skipped and not _leads_up(link, root)]


def _list(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Folders, links to folders and files in a folder."""
    with os.scandir(folder) as scan:
        entries = sorted((entry for entry in scan if _is_seen(entry)), key=lambda entry: entry.name)
    folders = [entry for entry in entries if entry.is_dir() and entry.name != _RECOVERED]
    return (
        [folder / entry.name for entry in folders if not entry.is_symlink()],
        [folder / entry.name for entry in folders if entry.is_symlink()],
        [folder / entry.name for entry in entries if entry.is_file()],
    )


def _is_seen(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is neither hidden nor a link that leads nowhere or in a circle."""
    return not entry.name.startswith(".") and not (entry.is_symlink() and not os.path.exists(entry))


def _leads_up(link: Path, root: Path) -> bool:
    """Whether a link leads to `root` or to a folder above it."""
    return root.resolve().is_relative_to(link.resolve())
