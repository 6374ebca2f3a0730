"""What the processes of a cluster work in: folder, files and environment of a Ray that a run starts for itself."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from htcnns.errors import InputError
from htcnns.files.caches import temporary_folder

_CONNECT_S = 10.0


@contextmanager
def ray_surroundings() -> Iterator[Path]:
    """A folder for the logs and sockets of a Ray of our own, removed at the end.

    The rest is told by the environment, for Ray's processes too, and stays for this process: nothing is sent to Ray's
    makers, and only who has a random token may speak to it. Ray reads that when it is imported, so it must be imported
    inside the first time.

    Raises:
        OutputError: there is no place for temporary files.
    """
    with temporary_folder() as folder:
        os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=_token())
        os.environ.update(RAY_worker_niceness="0")  # as this process; by Ray's 15 any other one goes first
        yield folder


@cache
def _token() -> str:
    """One per process, as Ray keeps the first one."""
    return secrets.token_hex(32)


def require_listener(address: str) -> None:
    """Raise ConnectionError where nothing listens at host:port; Ray itself would take minutes to find that out."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(getattr(error, "strerror", None) or str(error)) from error


def present_folder() -> Path:
    """The folder that relative paths begin at."""
    return Path.cwd()


def enter(folder: Path) -> None:
    """Let the relative paths of this process begin at the folder.

    Raises:
        InputError: there is no such folder here.
    """
    try:
        os.chdir(folder)
    except OSError as error:
        raise InputError(
            f"cannot be entered ({error.strerror or error})",
            place=folder,
            expected="the folder that the run was started in, on storage that every machine sees",
            remedy="Mount it there, or start the run in a folder that all of them have.",
        ) from error
