"""What reading a pickle gives: plain values, references to tensors, and inert stand-ins for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


class PickleError(Exception):
    """The bytes are not a pickle that can be read as data. The caller names the file."""


@dataclass(frozen=True, slots=True)
class Global:
    """A Python name that a pickle mentions. It is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class StorageRef:
    """A storage of the checkpoint.

    Attributes:
        key: Name of the storage in the file.
        dtype: torch's name of the dtype.
        count: Number of elements.
    """

    key: str
    dtype: str
    count: int


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor as the pickle describes it: a view of a storage.

    Attributes:
        storage: The storage.
        offset: Of the first element, in elements.
        shape: Shape of the tensor.
        strides: In elements.
        dtype: torch's name of the dtype.
        negated: Whether the stored elements are the negated ones (torch's lazy negation bit).
        conjugated: Whether the stored elements are the conjugated ones (torch's lazy conjugation bit).
    """

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str
    negated: bool = False
    conjugated: bool = False


class Inert:
    """An object that is not read: neither its class nor its arguments are looked at, and nothing is constructed."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


class ScriptObject:
    """A TorchScript module as data: its attributes by name, and the name of its class."""

    __slots__ = ("attributes", "class_name")

    def __init__(self, class_name: str) -> None:
        self.class_name = class_name
        self.attributes: Mapping[Any, Any] = MappingProxyType({})


# The class of a storage names its dtype.
STORAGE_DTYPES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "UntypedStorage": "uint8",
    "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "Float8_e4m3fnStorage": "float8_e4m3fn", "Float8_e5m2Storage": "float8_e5m2",
}  # fmt: skip

HASH_PERIOD = (1 << 61) - 1  # Python hashes greater whole numbers modulo this, so they could be made to collide
_PLAIN_KEYS = frozenset({str, bytes, bool, type(None)})


def as_key(key: Any) -> Any:
    """Return a mapping's key if it is cheap and safe to hash; anything else becomes an Inert key, equal to no other."""
    if type(key) in _PLAIN_KEYS or (type(key) is int and -HASH_PERIOD < key < HASH_PERIOD):
        return key
    return Inert("a key")
