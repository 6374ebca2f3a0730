"""Where a training stands, and the prepared cases it trains on, on disk."""

import io
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from htcnns.errors import InputError
from htcnns.files.whole import write_whole


@dataclass(frozen=True)
class Checkpoint:
    """A fit after `step` steps; `recipe` is plain data that a resumed fit must share."""

    step: int
    recipe: dict
    network: dict
    optimizer: dict


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically: a reader finds the old one or the new one, never half of one."""
    content = io.BytesIO()
    torch.save(
        {
            "step": checkpoint.step,
            "recipe": checkpoint.recipe,
            "network": checkpoint.network,
            "optimizer": checkpoint.optimizer,
        },
        content,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content.getvalue())


def read_checkpoint(path: Path) -> Checkpoint | None:
    """The checkpoint there, or None; only tensors and plain data are unpickled.

    Raises:
        InputError: a file that is no checkpoint.
    """
    if not path.exists():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        return Checkpoint(saved["step"], saved["recipe"], saved["network"], saved["optimizer"])
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: no checkpoint ({reason}); expected one that a fit wrote. Delete it.") from error


def write_pack(path: Path, array: np.ndarray, label_map: np.ndarray) -> None:
    """Store a prepared case: (4, i, j, k) float16 and (i, j, k) uint8, uncompressed for quick loading."""
    content = io.BytesIO()
    np.savez(content, array=array.astype(np.float16), label_map=label_map)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content.getvalue())


def read_pack(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The two arrays that `write_pack` stored."""
    with np.load(path) as arrays:
        return arrays["array"], arrays["label_map"]
