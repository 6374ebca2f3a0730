"""Questions about paths: what exists there, where a link leads, whether one is inside another. Nothing is changed.

A path that may not be accessed counts as one where nothing exists; reading or writing it raises the reason.
"""

import os
from pathlib import Path


def resolved(path: Path) -> Path:
    """The absolute path with every link followed, as far as it exists."""
    return Path(os.path.realpath(path))


def is_inside(path: Path, folder: Path) -> bool:
    """Whether the path, links followed, is the folder itself or lies anywhere in it."""
    return resolved(path).is_relative_to(resolved(folder))


def is_same(path: Path, other: Path) -> bool:
    """Whether both paths, links followed, are the same."""
    return resolved(path) == resolved(other)


def is_folder(path: Path) -> bool:
    """Whether the path is a folder or a link to one."""
    return os.path.isdir(path)


def is_file(path: Path) -> bool:
    """Whether the path is a file or a link to one."""
    return os.path.isfile(path)


def exists(path: Path) -> bool:
    """Whether anything exists at the path; a broken link does not count."""
    return os.path.exists(path)


def size_of(path: Path) -> int:
    """Size of the file in bytes; 0 where the path cannot be accessed."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def absence(path: Path) -> str:
    """Why nothing usable was found at a path, in words."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except OSError as error:
        return f"cannot be accessed ({error.strerror or error})"
    return "is something else"
