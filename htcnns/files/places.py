"""Questions about paths: what stands there, where a link leads, whether one lies inside another. Nothing is changed.

A path that may not be looked at counts as one where nothing stands; reading or writing it says why.
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
    """Whether both paths, links followed, are one."""
    return resolved(path) == resolved(other)


def is_folder(path: Path) -> bool:
    """Whether a folder, or a link to one, stands there."""
    return os.path.isdir(path)


def is_file(path: Path) -> bool:
    """Whether a file, or a link to one, stands there."""
    return os.path.isfile(path)


def exists(path: Path) -> bool:
    """Whether anything stands there; a link that leads nowhere is nothing."""
    return os.path.exists(path)


def size_of(path: Path) -> int:
    """Bytes of the file there; 0 where nothing can be seen."""
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def absence(path: Path) -> str:
    """Why nothing is seen at a path, in words."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "does not exist"
    except OSError as error:
        return f"cannot be looked at ({error.strerror or error})"
    return "is no such thing"
