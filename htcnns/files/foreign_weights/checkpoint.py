"""A checkpoint that others wrote with torch.save, read without running any code in it.

Only tensors, plain data and NumPy's numbers are unpickled; anything else that a file names is refused and not called.
NumPy is not called either: its own types crashed the process when given states that it never writes (found by
mutation). Before torch unpickles a file, `pickle_scan` checks it, as forged input can crash or hang torch itself.
"""

import hashlib
import io
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from htcnns.errors import InputError, WeightsError, shown
from htcnns.files.foreign_weights.pickle_scan import require_harmless
from htcnns.files.regular_file import read_regular
from htcnns.networks.limits import LONGEST_TENSOR_NAME, MOST_FOREIGN_BYTES, MOST_TENSORS

_ZIP = b"PK\x03\x04"
_BEFORE_1_6 = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch's magic number, pickled
_N_BEFORE_1_6 = 4  # pickles after that: version, machine, content, names of the storages
_UNREADABLE = (  # what torch raises for a truncated or forged file
    *(pickle.UnpicklingError, struct.error, zipfile.BadZipFile, EOFError, RuntimeError, MemoryError),
    *(ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError),
)
_CODES = {"f2": "e", "f4": "f", "f8": "d", "b1": "?"} | {  # NumPy's names of number types, and struct's
    f"{kind}{size}": code if kind == "i" else code.upper()
    for kind in "iu"
    for size, code in ((1, "b"), (2, "h"), (4, "i"), (8, "q"))
}
_PREFIX = re.compile(r"^((_orig_mod|module)\.)+")  # prefixes from torch.compile and training on several GPUs


class _NumberType:
    """Stand-in for a NumPy dtype in a file: the type of a single number."""

    def __init__(self, name: str, *_: object) -> None:
        self.code = _CODES[name]
        self.order = "<"

    def __setstate__(self, state: tuple) -> None:
        self.order = ">" if state[1] == ">" else "<"


def _number(kind: _NumberType, content: bytes) -> float:
    """Stand-in for the function that makes a NumPy number from its bytes: returns the plain number."""
    return struct.unpack(kind.order + kind.code, content)[0]


_NUMPY: list[Callable | tuple[Callable, str]] = [  # nnU-Net keeps its scores as NumPy's numbers
    (_NumberType, "numpy.dtype"),
    (_number, "numpy._core.multiarray.scalar"),
    (_number, "numpy.core.multiarray.scalar"),  # before NumPy 2
]


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file.

    Attributes:
        path: path of the file.
        sha256: digest of the file.
        content: tensors and plain data by name.
    """

    path: Path
    sha256: str
    content: Mapping[str, Any]


def read_checkpoint(path: Path) -> Checkpoint:
    """The content of a file that torch.save wrote.

    Raises:
        WeightsError: the file cannot be read, is too large, was not written by torch.save, or contains anything but
            tensors and plain data, or more of these than a checkpoint has; the message names what it would have run.
    """
    try:
        content = read_regular(path, most_bytes=MOST_FOREIGN_BYTES)
    except InputError as error:
        raise error.inside(kind=WeightsError) from error
    _require_plain_archive(content, path)
    try:
        _require_harmless_pickles(content)
        with torch.serialization.safe_globals(_NUMPY):
            loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise _unreadable(path, str(error)) from error
    if not isinstance(loaded, dict):
        raise _unreadable(path, "it does not hold a dict")
    return Checkpoint(path, hashlib.sha256(content).hexdigest(), loaded)


def tensors_in(checkpoint: Checkpoint, key: str) -> dict[str, Tensor]:
    """The tensors under a key of a checkpoint, by name, without the prefixes that training adds to the names.

    Raises:
        WeightsError: the key is missing or empty, or has anything but dense tensors, too many tensors, a name that is
            too long, or two of one name.
    """
    found = checkpoint.content.get(key)
    if not isinstance(found, dict) or not found:
        raise WeightsError(
            f"holds no {key}",
            place=checkpoint.path,
            found=", ".join(sorted(map(str, checkpoint.content))[:8]) or "nothing",
            expected=f"{key} with the network's tensors",
            remedy="Give a checkpoint of the kind that was named.",
        )
    tensors = {_PREFIX.sub("", str(name)): tensor for name, tensor in found.items()}
    is_named = {name: len(name) <= LONGEST_TENSOR_NAME for name in tensors}
    strange = next((name for name, each in tensors.items() if not (is_named[name] and _is_dense(each))), None)
    if strange is not None or len(tensors) < len(found) or len(tensors) > MOST_TENSORS:
        raise WeightsError(
            f"{shown(strange)} is not a plain tensor"
            if strange is not None
            else "too many tensors, or two with the same name",
            place=checkpoint.path,
            found=f"{len(found)} entries in {key}",
            expected=f"at most {MOST_TENSORS} tensors, each under its own name",
            remedy="Give a checkpoint of the kind that was named.",
        )
    return {name: tensor.detach() for name, tensor in tensors.items()}


def _is_dense(tensor: object) -> bool:
    """Whether the object is a dense tensor of real or whole numbers on the CPU, no larger than its storage."""
    return (
        isinstance(tensor, Tensor)
        and tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and not tensor.is_complex()
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )


def _require_plain_archive(content: bytes, path: Path) -> None:
    """Raise WeightsError where a file is not torch.save's, would unpack to more than its size, or includes code."""
    if content.startswith(_BEFORE_1_6):
        return
    if not content.startswith(_ZIP):
        raise _unreadable(path, "it starts with other bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, struct.error, EOFError, ValueError, OSError, NotImplementedError) as error:
        raise _unreadable(path, str(error)) from error
    if any(entry.filename.endswith("constants.pkl") for entry in entries):
        raise _unreadable(path, "it holds a TorchScript program")
    is_packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if is_packed or sum(entry.file_size for entry in entries) > len(content):
        raise _unreadable(path, "its archive is compressed, which torch.save never does")


def _require_harmless_pickles(content: bytes) -> None:
    """Raise one of _UNREADABLE unless everything that torch will unpickle is safe for it."""
    file = io.BytesIO(content)
    if content.startswith(_BEFORE_1_6):
        file.seek(len(_BEFORE_1_6))
        for _ in range(_N_BEFORE_1_6):
            require_harmless(file)
    else:  # torch's own reader, as zipfile may find another entry of that name
        require_harmless(io.BytesIO(torch._C.PyTorchFileReader(file).get_record("data.pkl")))


def _unreadable(path: Path, reason: str) -> WeightsError:
    """The error for a refused file; a function that torch would have had to call takes precedence as the reason."""
    if call := re.search(r"GLOBAL ([\w.]+)|function <[\w-]+ ([\w.]+)", reason):
        return WeightsError(
            f"would run {call[1] or call[2]}, and was not loaded",
            place=path,
            expected="only tensors and plain data",
            remedy="Ask whoever made it for the network's state dict.",
        )
    told = re.search(r"WeightsUnpickler error: (.*)", reason)  # torch's message begins with advice to take a risk
    first = (told[1] if told else reason).strip().partition("\n")[0] or "it is cut short or damaged"
    return WeightsError(
        f"cannot be read as a checkpoint ({first[:120].rstrip('.')})",
        place=path,
        expected="a file written by torch.save",
        remedy="Download it again, or ask whoever made it for the network's state dict alone.",
    )
