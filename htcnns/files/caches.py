"""A fresh folder for everything that libraries cache, so that any user id works, even one without a home."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from htcnns.errors import OutputError

_VARIABLES = ("HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


@contextmanager
def private_caches() -> Iterator[None]:
    """Point the caches of libraries to a temporary folder of this process, which is removed at the end.

    Libraries read these paths when they are imported, so they must be imported inside the block.

    Raises:
        OutputError: there is no place for temporary files.
    """
    with temporary_folder() as caches:
        os.environ.update(dict.fromkeys(_VARIABLES, str(caches)))
        yield


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A fresh folder, removed at the end.

    Raises:
        OutputError: there is no place for temporary files.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="htcnns-", ignore_cleanup_errors=True)
    except OSError as error:
        raise OutputError(f"no temporary folder; {error}", remedy="Mount a writable /tmp, or set TMPDIR.") from error
    with folder as path:
        yield Path(path)
