"""Walk through the folder of an input: what lies in it, each folder once, never outside of it by a link upwards."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

from htcnns.errors import InputError

_RECOVERED = "lost+found"  # at the top of every ext4 disk, for root alone


def walk(root: Path, *, skip: Collection[Path] = ()) -> Iterator[tuple[Path, list[Path]]]:
    """Each folder with its files, both sorted; linked folders come last, so that one has its own name first.

    Hidden files and folders, `lost+found` and links that lead to `root` or above it are passed by.

    Args:
        skip: folders that are not walked, such as the output folder; `root` itself always is.

    Raises:
        InputError: a folder that cannot be read.
    """
    passed = {folder.resolve() for folder in skip}
    seen: set[tuple[int, int]] = set()
    waiting, linked = [root], list[Path]()
    while waiting or linked:
        folder = waiting.pop() if waiting else linked.pop(0)
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            folders, links, files = _look_into(folder)
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be looked into; {error.strerror}, expected a readable folder. "
                "Give reading rights or take it away."
            ) from error
        seen.add((status.st_dev, status.st_ino))
        yield folder, files
        waiting += [inner for inner in reversed(folders) if not passed or inner.resolve() not in passed]
        linked += [link for link in links if link.resolve() not in passed and not _leads_up(link, root)]


def _look_into(folder: Path) -> tuple[list[Path], list[Path], list[Path]]:
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
    """False for what is hidden, and for links that lead nowhere or round in a circle."""
    return not entry.name.startswith(".") and not (entry.is_symlink() and not os.path.exists(entry))


def _leads_up(link: Path, root: Path) -> bool:
    return root.resolve().is_relative_to(link.resolve())
