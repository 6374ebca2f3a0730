"""Folder, files and environment of the processes of a Ray cluster that a run starts for itself."""

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

    Environment variables, which stay set in this process and are inherited by Ray's, turn off usage reports to Ray's
    makers and require a random token from everyone who connects. Ray reads them when it is imported, so its first
    import must be inside the block.

    Raises:
        OutputError: there is no place for temporary files.
    """
    with temporary_folder() as folder:
        os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=_token())
        os.environ.update(RAY_worker_niceness="0")  # as this process; by Ray's default of 15 every other one goes first
        yield folder


@cache
def _token() -> str:
    """The token, one per process, as Ray keeps the first it reads."""
    return secrets.token_hex(32)


def require_listener(address: str) -> None:
    """Raise ConnectionError where nothing listens at host:port; Ray itself would take minutes to find that out."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(getattr(error, "strerror", None) or str(error)) from error


def present_folder() -> Path:
    """The working folder of this process."""
    return Path.cwd()


def enter(folder: Path) -> None:
    """Make the folder the working folder of this process.

    Raises:
        InputError: the folder is not there or cannot be entered.
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
