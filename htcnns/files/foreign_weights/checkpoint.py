"""A checkpoint that torch.save wrote elsewhere, read without running anything that stands in it.

Only tensors, plain data and the numbers of NumPy are unpickled; whatever else a file names is refused and not called.
NumPy itself is not either: given other states than it writes, its own types crashed the process (found by mutation).
Before torch unpickles a file, `pickle_scan` follows it: torch itself can be crashed or stopped by what it is given.
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
_N_BEFORE_1_6 = 4  # pickles after that: version, machine, content, names of the tensors' numbers
_UNREADABLE = (  # what a file that is cut or forged makes torch raise
    *(pickle.UnpicklingError, struct.error, zipfile.BadZipFile, EOFError, RuntimeError, MemoryError),
    *(ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError),
)
_CODES = {"f2": "e", "f4": "f", "f8": "d", "b1": "?"} | {  # NumPy's names of numbers, and those of struct
    f"{kind}{size}": code if kind == "i" else code.upper()
    for kind in "iu"
    for size, code in ((1, "b"), (2, "h"), (4, "i"), (8, "q"))
}
_PREFIX = re.compile(r"^((_orig_mod|module)\.)+")  # what torch.compile and several GPUs put before each name


class _NumberType:
    """Stands in for NumPy's dtype where a file has one: the type of a single number."""

    def __init__(self, name: str, *_: object) -> None:
        self.code = _CODES[name]
        self.order = "<"

    def __setstate__(self, state: tuple) -> None:
        self.order = ">" if state[1] == ">" else "<"


def _number(kind: _NumberType, content: bytes) -> float:
    """Stands in for what makes a number of NumPy from its bytes: the plain number."""
    return struct.unpack(kind.order + kind.code, content)[0]


_NUMPY: list[Callable | tuple[Callable, str]] = [  # nnU-Net keeps its scores as NumPy's numbers
    (_NumberType, "numpy.dtype"),
    (_number, "numpy._core.multiarray.scalar"),
    (_number, "numpy.core.multiarray.scalar"),  # before NumPy 2
]


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        path: of the file.
        sha256: of its content.
        content: tensors and plain data by name.
    """

    path: Path
    sha256: str
    content: Mapping[str, Any]


def read_checkpoint(path: Path) -> Checkpoint:
    """The content of a file that torch.save wrote.

    Raises:
        WeightsError: a file that cannot be read, is too large, is none of torch.save or holds anything but tensors and
            plain data, or more of these than a checkpoint has; what it would have run is named.
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
        raise _unreadable(path, "it holds no table of names")
    return Checkpoint(path, hashlib.sha256(content).hexdigest(), loaded)


def tensors_in(checkpoint: Checkpoint, key: str) -> dict[str, Tensor]:
    """The tensors by name that stand in a checkpoint under a key, without what training puts before their names.

    Raises:
        WeightsError: nothing of that key, anything but dense tensors under it, too many, or two of one name.
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
            f"{shown(strange)} is no plain tensor" if strange is not None else "too many tensors, or two of one name",
            place=checkpoint.path,
            found=f"{len(found)} entries in {key}",
            expected=f"at most {MOST_TENSORS} tensors, each under its own name",
            remedy="Give a checkpoint of the kind that was named.",
        )
    return {name: tensor.detach() for name, tensor in tensors.items()}


def _is_dense(tensor: object) -> bool:
    """Whether it is a tensor of real numbers in memory, with no more of them than its storage holds."""
    return (
        isinstance(tensor, Tensor)
        and tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and not tensor.is_complex()
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )


def _require_plain_archive(content: bytes, path: Path) -> None:
    """Raise WeightsError where a file is none of torch.save, would unpack to more than it is, or holds a program."""
    if content.startswith(_BEFORE_1_6):
        return
    if not content.startswith(_ZIP):
        raise _unreadable(path, "it begins otherwise")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, struct.error, EOFError, ValueError, OSError, NotImplementedError) as error:
        raise _unreadable(path, str(error)) from error
    if any(entry.filename.endswith("constants.pkl") for entry in entries):
        raise _unreadable(path, "it holds a program of TorchScript")
    is_packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if is_packed or sum(entry.file_size for entry in entries) > len(content):
        raise _unreadable(path, "its archive is compressed, which torch.save never does")


def _require_harmless_pickles(content: bytes) -> None:
    """Raise one of _UNREADABLE unless all that torch will unpickle is safe for it."""
    file = io.BytesIO(content)
    if content.startswith(_BEFORE_1_6):
        file.seek(len(_BEFORE_1_6))
        for _ in range(_N_BEFORE_1_6):
            require_harmless(file)
    else:  # torch's own reader, as zipfile may find another entry of that name
        require_harmless(io.BytesIO(torch._C.PyTorchFileReader(file).get_record("data.pkl")))


def _unreadable(path: Path, reason: str) -> WeightsError:
    """What a file is refused for; a name in it that torch would have had to call comes first."""
    if call := re.search(r"GLOBAL ([\w.]+)|function <[\w-]+ ([\w.]+)", reason):
        return WeightsError(
            f"would run {call[1] or call[2]}, and was not loaded",
            place=path,
            expected="tensors and plain data alone",
            remedy="Ask whoever made it for the network's state dict.",
        )
    told = re.search(r"WeightsUnpickler error: (.*)", reason)  # what torch says before it is advice to take a risk
    first = (told[1] if told else reason).strip().partition("\n")[0] or "it is cut or damaged"
    return WeightsError(
        f"cannot be read as a checkpoint ({first[:120].rstrip('.')})",
        place=path,
        expected="a file written by torch.save",
        remedy="Download it again, or ask whoever made it for the network's state dict alone.",
    )
