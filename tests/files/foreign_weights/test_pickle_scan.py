"""Pickles that would crash or hang the process are refused before unpickling; what torch.save writes is let through."""

import io
import pickle
import resource
import subprocess
import sys
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path

import pytest
import torch
from test_checkpoint import MAGIC, saved

from htcnns.files.foreign_weights.checkpoint import read_checkpoint
from htcnns.files.foreign_weights.pickle_scan import DEEPEST, require_harmless

PICKLE = b"\x80\x02"
ALL_AT_ONCE = """
import sys
from pathlib import Path
from htcnns.errors import WeightsError
from htcnns.files.foreign_weights.checkpoint import read_checkpoint
for path in map(Path, sys.argv[1:]):
    try:
        read_checkpoint(path)
    except WeightsError as error:
        print(error.problem)
"""


def called(module: str, name: str, arguments: bytes) -> bytes:
    return f"c{module}\n{name}\n".encode() + arguments + b"R"


def whole(number: int) -> bytes:
    """The instruction that makes a whole number of any size."""
    content = pickle.encode_long(number)
    return b"\x8a" + bytes([len(content)]) + content


def text(letters: str) -> bytes:
    content = letters.encode()
    return b"X" + len(content).to_bytes(4, "little") + content


def as_key(part: bytes) -> bytes:
    return b"}" + part + b"Ns"


SELF_SHARED = b"q\x00h\x00\x86"  # the last part remembered, and a tuple made of it twice
DEEP = "it is nested more than 64 deep"
HOSTILE = {
    "deep tuple as key": (as_key(b")" + b"\x85" * 150_000), DEEP),
    "deep list": (b"]" * 1000 + b"a" * 999, DEEP),
    "self-shared tuples as key": (as_key(b")" + SELF_SHARED * 40), "it unpacks to more than 2.1 million parts"),
    "self-shared lists": (b"]" + b"q\x00]h\x00ah\x00a" * 40, "it unpacks to more than 2.1 million parts"),
    "tuple as key": (as_key(b")"), "a tuple where torch.save has a plain or text"),
    "6 GB in a bytearray": (called("builtins", "bytearray", whole(3 * 2**31) + b"\x85"), "builtins.bytearray"),
    "keys of equal hash": (
        b"}(" + b"".join(whole(n * (2**61 - 1)) + b"N" for n in range(1, 50_000)) + b"u",
        "a whole number of more than 64 bits",
    ),
    "text encoded in quadratic time": (
        called("_codecs", "encode", text("ü" * 100) + text("punycode") + b"\x86"),
        "torch.save does not call _codecs.encode so",
    ),
    "list inside itself": (b"]q\x00h\x00a", "a list grows inside itself or another"),
    "list that grows inside a tuple": (b"]q\x00\x85h\x00h\x00a\x86", "a list grows inside itself or another"),
    "call of what is no function": (b"N)R", "a plain where torch.save has a global"),
    "set": (b"\x8f", "torch.save writes no EMPTY_SET"),
    "nothing on the stack": (b"a", "pop from empty list"),
    "nothing remembered": (b"h\x00", "^0$"),
}


@pytest.mark.parametrize(("pickled", "says"), HOSTILE.values(), ids=HOSTILE)
def test_what_torch_save_never_writes_is_refused(pickled: bytes, says: str) -> None:
    with pytest.raises((ValueError, LookupError), match=says):
        require_harmless(io.BytesIO(PICKLE + pickled + b"."))


def test_parts_may_be_nested_up_to_the_limit_and_no_deeper() -> None:
    require_harmless(io.BytesIO(nested(DEEPEST)))
    with pytest.raises(ValueError, match=DEEP):
        require_harmless(io.BytesIO(nested(DEEPEST + 1)))


def nested(n: int) -> bytes:
    """The pickle of a list with n levels of lists in it."""
    return PICKLE + b"]" * (n + 1) + b"a" * n + b"."


@pytest.mark.slow
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
def test_hostile_files_take_little_time_and_memory_and_crash_nothing(tmp_path: Path, is_zip: bool) -> None:
    paths = [tmp_path / f"{n}.pth" for n in range(len(HOSTILE))]
    for path, (pickled, _) in zip(paths, HOSTILE.values(), strict=True):
        content = PICKLE + pickled + b"."
        path.write_bytes(zipped(content) if is_zip else MAGIC + pickle.dumps(1001, 2) + pickle.dumps({}, 2) + content)
    done = subprocess.run(
        [sys.executable, "-c", ALL_AT_ONCE, *paths], preexec_fn=limited, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(HOSTILE)


def limited() -> None:
    """Limit this process to 4 GiB and to one minute of computing, of which importing torch takes 5 seconds."""
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))


def zipped(pickled: bytes) -> bytes:
    """What torch.save writes, with another pickle in it."""
    old, new = io.BytesIO(), io.BytesIO()
    torch.save({}, old)
    with zipfile.ZipFile(old) as archive, zipfile.ZipFile(new, "w") as forged:
        for name in archive.namelist():
            forged.writestr(name, pickled if name.endswith("data.pkl") else archive.read(name))
    return new.getvalue()


def trained(kind: type[torch.optim.Optimizer], **settings: object) -> dict:
    """What a training saves: the state of a network, its optimizer, its learning rate scheduler and its scaler."""
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 1), torch.nn.BatchNorm3d(2))
    optimizer = kind(network.parameters(), lr=0.01, **settings)
    rate = torch.optim.lr_scheduler.StepLR(optimizer, 5)
    network(torch.ones(1, 1, 2, 2, 2)).sum().backward()
    optimizer.step()
    rate.step()
    states = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "rate": rate.state_dict()}
    return states | {"scaler": torch.amp.GradScaler("cpu").state_dict()}


SHARED = torch.arange(6.0)
PLAIN = {
    "nested": {"a": {"b": [1, 2.5, None, True, ("x", [-1])], 3: {}, 2.5: ()}, "empty": [[], {}]},
    "long": {"list": list(range(5000)), "table": {str(n): 0.5 for n in range(3000)}, "text": "ä" * 100_000},
    "numbers": {"large": 2**63 - 1, "small": -(2**62), "infinite": float("inf"), "bytes": b"\x00\xff"},
    "ordered": OrderedDict(a=1, b=OrderedDict(c=[2])),
    "counted": {"n": Counter("abca")},
    "tensors": {"a": SHARED, "again": SHARED, "part": SHARED[2:4], "b": [torch.tensor(True), torch.zeros(0, 3)]},
    "types": {"half": torch.ones(2).half(), "bf16": torch.ones(2).bfloat16(), "byte": torch.ones(2).byte()},
    "parameter": {"weight": torch.nn.Parameter(torch.ones(2))},
    "of torch": {"size": torch.Size([2, 3]), "dtype": torch.float16, "device": torch.device("cpu")},
    "sgd": trained(torch.optim.SGD, momentum=0.99, nesterov=True, weight_decay=3e-5),
    "adamw": trained(torch.optim.AdamW, amsgrad=True),
}


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("content", PLAIN.values(), ids=PLAIN)
def test_what_training_programs_save_is_read(tmp_path: Path, content: dict, is_zip: bool) -> None:
    path = saved(tmp_path / "a.pth", content, _use_new_zipfile_serialization=is_zip)
    assert repr(read_checkpoint(path).content) == repr(content)
