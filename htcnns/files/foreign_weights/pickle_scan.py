"""A pickle of torch.save, followed instruction by instruction without making its objects, before torch unpickles it.

torch calls only what it knows, and yet a file of some kilobytes can crash or stop a process that loads it. Python
hashes a tuple by a call for each level, and once more for each time that a part is shared; keys of equal hash make a
dictionary quadratic; bytearray(n) takes n bytes; some text encodings take the square of a text's length. So nothing is
let through but the instructions and calls that torch.save writes for tensors and plain data; keys are texts or numbers.
Sizes are counted as if nothing was shared, and a count stays true because nothing grows once it is inside another.
"""

import pickletools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import IO, Any

DEEPEST = 64  # parts inside each other, with arguments of calls
MOST_PARTS = 2**21  # of everything that is made, each shared part as often as it is used
MOST_INTEGER = 2**63 - 1  # any number of longer ones can have the same hash
LETTERS_PER_PART = 64  # what a text counts as

_PLAIN = {"NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
_TEXTS = {"BINUNICODE", "SHORT_BINSTRING"}
_EMPTY = {"EMPTY_TUPLE": "tuple", "EMPTY_LIST": "list", "EMPTY_DICT": "dict"}
_N_IN_TUPLE = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_STORAGES = (
    *("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool"),
    *("ComplexFloat", "ComplexDouble"),
)
_DTYPES = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")


@dataclass(slots=True)
class _Part:
    """What would be an object.

    Attributes:
        kind: "plain", "text", "tuple", "list", "dict", "global", "storage", or the name of what was called to make it.
        text: itself, or the name of a global.
        parts: of a tuple.
        depth: how many levels of parts it has.
        n_parts: how many parts there are on all levels, itself included.
        is_inside: whether it is part of another.
    """

    kind: str
    text: str = ""
    parts: Sequence["_Part"] = ()
    depth: int = 0
    n_parts: int = 1
    is_inside: bool = False


def _any(_: Sequence[_Part]) -> bool:
    return True


_CALLS: Mapping[str, Callable[[Sequence[_Part]], bool]] = MappingProxyType(  # and whether arguments are as torch.save's
    {
        "collections.OrderedDict": lambda arguments: not arguments,  # its items follow
        "collections.Counter": lambda arguments: [each.kind for each in arguments] == ["dict"],
        "_codecs.encode": lambda arguments: [each.text for each in arguments[1:]] == ["latin1"],  # what bytes become
        **dict.fromkeys(("torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"), _any),
        **dict.fromkeys(("torch._utils._rebuild_parameter", "torch.device", "torch.Size"), _any),
        **dict.fromkeys(("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"), _any),
    }
)
_GLOBALS = {*_CALLS, *(f"torch.{name}Storage" for name in _STORAGES), *(f"torch.{name}" for name in _DTYPES)}
_TABLES = {"dict", "collections.OrderedDict", "collections.Counter"}
_STATES = {"collections.OrderedDict": "dict", "numpy.dtype": "tuple"}  # what is set on an object after the call


def require_harmless(file: IO[bytes]) -> None:
    """Raise ValueError or LookupError unless torch can unpickle what begins there safely; reads to the pickle's end."""
    scan = _Scan()
    for opcode, argument, _ in pickletools.genops(file):
        _follow(scan, opcode.name, argument)


@dataclass
class _Scan:
    """What an unpickler remembers; each mark begins a stack of its own, as in torch's."""

    stacks: list[list[_Part]] = field(default_factory=lambda: [[]])
    memo: dict[int, _Part] = field(default_factory=dict)
    n_parts: int = 0

    def push(self, part: _Part) -> None:
        """Put it on the stack; ValueError where there are too many parts by now."""
        self.n_parts += part.n_parts
        if self.n_parts > MOST_PARTS:
            raise ValueError(f"it unpacks to more than {MOST_PARTS / 1e6:.1f} million parts")
        self.stacks[-1].append(part)

    def pop(self, n: int | None = None) -> list[_Part]:
        """Take the last n from the stack; None takes all after the last mark, and the mark."""
        return self.stacks.pop() if n is None else [self.stacks[-1].pop() for _ in range(n)][::-1]


def _follow(scan: _Scan, name: str, argument: Any) -> None:
    """Change the scan as the instruction of that name does; ValueError where that would not be safe."""
    match name:
        case "PROTO" | "STOP":
            pass
        case "MARK":
            scan.stacks.append([])
        case "BINPUT" | "LONG_BINPUT":
            scan.memo[argument] = scan.stacks[-1][-1]
        case "BINGET" | "LONG_BINGET":
            scan.push(scan.memo[argument])
        case "TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
            parts = scan.pop(_N_IN_TUPLE.get(name))
            scan.push(_with(_Part("tuple", parts=parts), parts))
        case "APPEND" | "APPENDS":
            items = scan.pop(1 if name == "APPEND" else None)
            _with(_of_kind(scan.stacks[-1][-1], {"list"}), items)
        case "SETITEM" | "SETITEMS":
            items = scan.pop(2 if name == "SETITEM" else None)
            for key in items[::2]:
                _of_kind(key, {"plain", "text"})
            _with(_of_kind(scan.stacks[-1][-1], _TABLES), items)
        case "REDUCE":
            scan.push(_called(*scan.pop(2)))
        case "BUILD":
            (state,) = scan.pop(1)
            built = _of_kind(scan.stacks[-1][-1], _STATES)
            _with(built, [_of_kind(state, {_STATES[built.kind]})])
        case "BINPERSID":
            scan.push(_storage(*scan.pop(1)))
        case _:
            scan.push(_single(name, argument))


def _single(name: str, argument: Any) -> _Part:
    """What an instruction makes of nothing but its own argument."""
    if name == "GLOBAL":
        return _global(argument.replace(" ", "."))
    if name in _EMPTY:
        return _Part(_EMPTY[name])
    if name in _TEXTS:
        return _Part("text", text=argument, n_parts=1 + len(argument) // LETTERS_PER_PART)
    if name not in _PLAIN:
        raise ValueError(f"torch.save writes no {name}")
    if isinstance(argument, int) and abs(argument) > MOST_INTEGER:
        raise ValueError("a whole number of more than 64 bits")
    return _Part("plain")


def _global(name: str) -> _Part:
    if name not in _GLOBALS:
        raise ValueError(f"GLOBAL {name} is neither of a tensor nor of plain data")
    return _Part("global", text=name)


def _called(function: _Part, arguments: _Part) -> _Part:
    """What a call gives."""
    _of_kind(function, {"global"})
    _of_kind(arguments, {"tuple"})
    if function.text not in _CALLS or not _CALLS[function.text](arguments.parts):
        raise ValueError(f"torch.save does not call {function.text} so")
    return _with(_Part(function.text), [arguments])


def _storage(identity: _Part) -> _Part:
    """The numbers of a tensor, which stand elsewhere in the file under one of the parts of that tuple."""
    if any(part.depth for part in _of_kind(identity, {"tuple"}).parts):
        raise ValueError("a tensor's numbers have no plain name")
    return _with(_Part("storage"), [identity])


def _of_kind(part: _Part, kinds: Collection[str]) -> _Part:
    """The part itself; ValueError unless it is of one of these kinds."""
    if part.kind not in kinds:
        raise ValueError(f"a {part.kind} where torch.save has a {' or '.join(sorted(kinds))}")
    return part


def _with(whole: _Part, parts: Sequence[_Part]) -> _Part:
    """The whole itself, grown by these parts; ValueError where it is part of something already, or too deep by now."""
    for part in parts:
        part.is_inside = True
        whole.n_parts += part.n_parts
        whole.depth = max(whole.depth, part.depth + 1)
    if whole.is_inside:
        raise ValueError(f"a {whole.kind} grows inside itself or another")
    if whole.depth > DEEPEST:
        raise ValueError(f"it is nested more than {DEEPEST} deep")
    return whole
