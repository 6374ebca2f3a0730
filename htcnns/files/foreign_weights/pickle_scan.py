"""A check of a torch.save pickle, instruction by instruction and without making its objects, before torch unpickles it.

torch calls only functions that it knows, and yet a file of a few kilobytes can crash or hang the process that loads it.
Python hashes a tuple recursively, and a shared part again for each use; keys with equal hashes make a dictionary
quadratic; bytearray(n) takes n bytes; some text encodings are quadratic in the text's length. So only the instructions
and calls that torch.save writes for tensors and plain data are let through, and keys must be texts or numbers.
Sizes are counted as if nothing were shared; a count stays true because no object may grow once it is inside another.
"""

import pickletools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import IO, Any

DEEPEST = 64  # nesting levels, arguments of calls included
MOST_PARTS = 2**21  # of all objects, a shared part counted once per use
MOST_INTEGER = 2**63 - 1  # arbitrarily many longer ones can have the same hash
LETTERS_PER_PART = 64  # letters of a text that count as one part

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
    """Stand-in for an object that unpickling would make.

    Attributes:
        kind: "plain", "text", "tuple", "list", "dict", "global", "storage", or the name of the function that made it.
        text: content of a text, or name of a global.
        parts: items of a tuple.
        depth: number of levels of parts inside it.
        n_parts: number of parts on all levels, itself included.
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
_STATES = {"collections.OrderedDict": "dict", "numpy.dtype": "tuple"}  # kind of the state that is set after the call


def require_harmless(file: IO[bytes]) -> None:
    """Raise ValueError or LookupError unless the pickle at the file's position is safe for torch; reads to its end."""
    scan = _Scan()
    for opcode, argument, _ in pickletools.genops(file):
        _follow(scan, opcode.name, argument)


@dataclass
class _Scan:
    """The state of an unpickler; each mark begins a new stack, as in torch's."""

    stacks: list[list[_Part]] = field(default_factory=lambda: [[]])
    memo: dict[int, _Part] = field(default_factory=dict)
    n_parts: int = 0

    def push(self, part: _Part) -> None:
        """Put the part on the stack; raises ValueError once there are too many parts."""
        self.n_parts += part.n_parts
        if self.n_parts > MOST_PARTS:
            raise ValueError(f"it unpacks to more than {MOST_PARTS / 1e6:.1f} million parts")
        self.stacks[-1].append(part)

    def pop(self, n: int | None = None) -> list[_Part]:
        """Take the last n parts from the stack; None takes all parts after the last mark, and the mark."""
        return self.stacks.pop() if n is None else [self.stacks[-1].pop() for _ in range(n)][::-1]


def _follow(scan: _Scan, name: str, argument: Any) -> None:
    """Apply the instruction with that name to the scan; raises ValueError where it would not be safe."""
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
    """The part that an instruction makes from its own argument alone."""
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
    """The part that a call returns."""
    _of_kind(function, {"global"})
    _of_kind(arguments, {"tuple"})
    if function.text not in _CALLS or not _CALLS[function.text](arguments.parts):
        raise ValueError(f"torch.save does not call {function.text} so")
    return _with(_Part(function.text), [arguments])


def _storage(identity: _Part) -> _Part:
    """The numbers of a tensor, which are stored elsewhere in the file under a name in that tuple."""
    if any(part.depth for part in _of_kind(identity, {"tuple"}).parts):
        raise ValueError("a tensor's numbers have no plain name")
    return _with(_Part("storage"), [identity])


def _of_kind(part: _Part, kinds: Collection[str]) -> _Part:
    """The part itself; raises ValueError unless it is of one of these kinds."""
    if part.kind not in kinds:
        raise ValueError(f"a {part.kind} where torch.save has a {' or '.join(sorted(kinds))}")
    return part


def _with(whole: _Part, parts: Sequence[_Part]) -> _Part:
    """The whole itself with these parts added; raises ValueError where it is inside another already, or too deep."""
    for part in parts:
        part.is_inside = True
        whole.n_parts += part.n_parts
        whole.depth = max(whole.depth, part.depth + 1)
    if whole.is_inside:
        raise ValueError(f"a {whole.kind} grows inside itself or another")
    if whole.depth > DEEPEST:
        raise ValueError(f"it is nested more than {DEEPEST} deep")
    return whole
