"""Reading CIFAR batch pickles as data: nothing that a pickle names is ever imported or called.

A pickle is a program; `find_class` decides what it may call. Here it hands out inert stand-ins that only record
their arguments, never NumPy's own functions, and the array is built afterwards from the recorded bytes. So even
the allowed names (what the official files use to rebuild an array) cannot reach code.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cifarlab.errors import DataError

_ALLOWED: Final = {
    # Names in the official files (NumPy 1.x, Python 2) ...
    ("numpy.core.multiarray", "_reconstruct"): "array",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    # ... and in copies packed again by Python 3, NumPy 2 or protocol 5.
    ("numpy._core.multiarray", "_reconstruct"): "array",
    ("numpy.core.numeric", "_frombuffer"): "frombuffer",
    ("numpy._core.numeric", "_frombuffer"): "frombuffer",
    ("_codecs", "encode"): "encode",
}
_DTYPES: Final = {"u1": np.uint8, "i1": np.int8, "i2": np.int16, "i4": np.int32, "i8": np.int64, "u2": np.uint16, "u4": np.uint32}
# fmt: off
_OPCODES: Final = frozenset(
    (
        "PROTO", "FRAME", "STOP", "MARK", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "LIST", "APPEND", "APPENDS",
        "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2",
        "LONG", "LONG1", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES",
        "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET", "GLOBAL",
        "STACK_GLOBAL", "REDUCE", "BUILD",
    )
)
# fmt: on
_PUTS: Final = ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE")
_MAX_MEMO: Final = 1_000_000
_MAX_TUPLES: Final = 32


class _Built:
    """What a stand-in was called with, and the state that the pickle gave it afterwards."""

    __slots__ = ("args", "kind", "state")

    def __init__(self, kind: str, args: tuple[Any, ...]) -> None:
        self.kind, self.args, self.state = kind, args, None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _StandIn:
    """Takes the place of one allowed global: calling it records the arguments (or undoes `_codecs.encode`), no more."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, *args: Any) -> _Built | bytes:
        if self.kind == "encode":  # how Python 3 writes bytes in protocols 0 to 2
            text, encoding = args
            if type(text) is not str or _text(encoding) != "latin1":
                raise pickle.UnpicklingError("an encoding other than latin1")
            return text.encode("latin1")
        return _Built(self.kind, args)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("state given to a function")


class _ForbiddenGlobalError(Exception):
    """The pickle names something beyond array reconstruction."""


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        kind = _ALLOWED.get((module_name, global_name))
        if kind is None:
            raise _ForbiddenGlobalError(f"{module_name}.{global_name}")
        return _StandIn(kind)


def load_batch_pickle(raw: bytes, *, source: str, known: bool = False) -> dict[str, Any]:
    """The dictionary in a batch or meta file; arrays are read from its values with `to_array`.

    raw: the whole file. source: its name, for messages. known: the file's MD5 is a published one, so that the slow scan
    which guards against absurd memory use can be left out (the guard against code never is).
    Raises DataError where the bytes are no such pickle, or name anything beyond array reconstruction; nothing of it runs.
    """
    try:
        if not known:
            _scan(raw)
        value = _RestrictedUnpickler(io.BytesIO(raw), encoding="bytes").load()
        if not isinstance(value, dict):
            raise ValueError(f"holds a {type(value).__name__}, not a dictionary")
        return {_text(key): item for key, item in value.items()}
    except _ForbiddenGlobalError as error:
        raise DataError(
            f"{source}: refused, nothing of it was run. It is a pickle that calls {error}; a CIFAR batch needs only NumPy array "
            "reconstruction. Do not trust where it came from; fetch the official files with: cifarlab data get cifar10"
        ) from None
    except Exception as error:  # damaged bytes make the unpickler raise nearly anything, MemoryError among them
        raise DataError(f"{source}: not a readable CIFAR batch ({_reason(error)}); it is damaged or something else") from error


def to_array(value: Any, *, source: str) -> NDArray[Any]:
    """The array that a pickled value stands for: a list of integers (-> int64) or a recorded NumPy array.

    Raises DataError where it is neither, or where its bytes do not fill its shape.
    """
    try:
        if isinstance(value, list):
            if not all(type(item) is int for item in value):
                raise ValueError("a list that holds more than integers")
            return np.array(value, dtype=np.int64)
        if isinstance(value, _Built) and value.kind == "array":
            _, shape, dtype, fortran, buffer = value.state  # type: ignore[misc]  # a wrong state raises below
        elif isinstance(value, _Built) and value.kind == "frombuffer":
            buffer, dtype, shape, order = value.args
            fortran = _text(order) == "F"
        else:
            raise ValueError(f"a {type(value).__name__} where an array belongs")
        flat = np.frombuffer(_bytes(buffer), dtype=_dtype(dtype))
        if not (isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)):
            raise ValueError("a shape that is none")
        return flat.reshape(shape, order="F" if fortran else "C")
    except Exception as error:  # recorded arguments may be anything at all
        raise DataError(f"{source}: not a readable CIFAR batch ({_reason(error)}); it is damaged or something else") from error


def _scan(raw: bytes) -> None:
    """Refuse opcodes that the files never use and memo indices or nesting that would eat memory or the stack."""
    tuples, pending = 0, False
    for opcode, argument, _ in pickletools.genops(raw):
        if opcode.name not in _OPCODES:
            raise ValueError(f"pickle instruction {opcode.name}, which CIFAR files do not use")
        if opcode.name in _PUTS:
            if int(argument or 0) > _MAX_MEMO:
                raise ValueError("a memo index beyond all measure")
            continue
        # Tuples that are used up as arguments at once do not nest, and Python 3 writes one for each byte string.
        tuples += pending and opcode.name != "REDUCE"
        pending = opcode.name.startswith("TUPLE")
        if tuples > _MAX_TUPLES:
            raise ValueError("more tuples than a CIFAR file has")


def _dtype(value: Any) -> np.dtype[Any]:
    if not (isinstance(value, _Built) and value.kind == "dtype"):
        raise ValueError("an array without an element type")
    name = _text(value.args[0]).lstrip("|<")
    byte_order = _text(value.state[1]) if value.state is not None else "<"
    if name not in _DTYPES or byte_order not in ("|", "<"):
        raise ValueError(f"array elements of type {byte_order}{name}")
    return np.dtype(_DTYPES[name]).newbyteorder("<")


def _bytes(value: Any) -> bytes | bytearray:
    if not isinstance(value, bytes | bytearray):
        raise ValueError(f"array contents of type {type(value).__name__}")
    return value


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str):
        raise ValueError(f"a {type(value).__name__} where a name belongs")
    return value


def _reason(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."
