"""What a fit keeps on disk: where it stands, the batch that broke it, and the lock that guards them."""

import fcntl
import io
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from htcnns.errors import InputError, OutputError
from htcnns.files.atomic import require_writable, write_whole
from htcnns.files.places import exists

_DELETE = "Delete it; the fit then starts again."


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A fit after `step` steps.

    Attributes:
        step: steps done.
        made_with: plain data that a resumed fit must share, such as its recipe and cases.
        network, optimizer, scaler: state dicts; the scaler's is empty outside fp16.
        average: moving average of each weight, by name; empty where none is kept.
    """

    step: int
    made_with: dict
    network: dict
    optimizer: dict
    scaler: dict
    average: dict


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically: a reader finds the old one or the new one, never half of one."""
    _write(path, {field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)})


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint in the file, None where there is no file; only tensors and plain data are unpickled.

    Raises:
        InputError: the file is no checkpoint.
    """
    if not exists(path):
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        return Checkpoint(**saved)
    except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"is not a checkpoint ({reason})", place=path, remedy=_DELETE) from error


def write_tensors(path: Path, tensors: Mapping[str, Any]) -> None:
    """Write tensors and plain data by name, for `torch.load`; used for a batch that somebody must look at."""
    _write(path, dict(tensors))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock the file while the block runs, then remove it; the lock of a killed process ends with it.

    Raises:
        OutputError: another process has the lock, or the folder or file cannot be made.
    """
    require_writable(path.parent)
    handle = _lock(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _lock(path: Path) -> int:
    """An open handle that has the lock, on the file that is at this path once it is locked."""
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise OutputError(
                f"cannot be written ({error.strerror})", place=path, remedy="Give a folder that you may write to."
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            raise OutputError(
                "another process is training this fit", place=path, remedy="Wait for it, or give another work folder."
            ) from error
        except OSError:
            return handle  # a file system without locks
        try:
            if os.fstat(handle).st_ino == os.stat(path).st_ino:
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)  # its owner has just removed the file


def _write(path: Path, content: dict) -> None:
    stream = io.BytesIO()
    torch.save(content, stream)
    require_writable(path.parent)
    write_whole(path, stream.getvalue())
