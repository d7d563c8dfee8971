"""Read the pickle in a torch archive as data.

Only the names in `_ALLOWED` are accepted, and each is replaced by an inert stand-in of ours. Any other name stops the
reading before anything is called. TorchScript module classes (`__torch__...`) become plain attribute holders.
"""

from __future__ import annotations

import io
import operator
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import Any, ClassVar

from registry_core.errors import UnsafeCheckpointError

# The class name of an old storage states its dtype.
STORAGE_DTYPES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16",
    "LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8",
    "ByteStorage": "uint8", "BoolStorage": "bool", "UntypedStorage": "uint8",
    "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "Float8_e4m3fnStorage": "float8_e4m3fn", "Float8_e5m2Storage": "float8_e5m2",
}  # fmt: skip
_DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
           "uint16", "uint32", "uint64", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2")  # fmt: skip


@dataclass(frozen=True, slots=True)
class StorageRef:
    """A storage of the archive: the record `data/<key>`, with the number of its elements."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor as the pickle describes it: a view of a storage. Offset and strides are in elements."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class _Dtype:
    name: str


class ScriptObject:
    """A TorchScript module as data: its attributes by name, and the name of its class."""

    class_name = ""
    attributes: Mapping[str, Any] = MappingProxyType({})

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.attributes = dict(state)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> TensorRef:
    return TensorRef(storage, operator.index(offset), _whole(size), _whole(stride), storage.dtype)


def _rebuild_tensor_v3(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> TensorRef:
    dtype = next((part.name for part in rest if isinstance(part, _Dtype)), storage.dtype)
    return TensorRef(storage, operator.index(offset), _whole(size), _whole(stride), dtype)


def _whole(numbers: Any) -> tuple[int, ...]:
    return tuple(map(operator.index, numbers))


def _first(value: Any, *_: Any) -> Any:
    return value


class _Table(OrderedDict[Any, Any]):
    """Any mapping of a pickle. Only plain keys are accepted: hashing a deeply nested tuple would end the process."""

    def __setitem__(self, key: Any, value: Any) -> None:
        parts = key if type(key) is tuple else (key,)
        if not all(isinstance(part, _PLAIN) for part in parts):
            raise pickle.UnpicklingError(f"a mapping has a {type(key).__name__} as key, expected a string or a number")
        super().__setitem__(key, value)


def _table(*items: Any) -> _Table:
    """Make a mapping for a pickle that names the class. A pickle that got the class could set its attributes."""
    return _Table(*items)


_PLAIN = (str, bytes, int, float, type(None))


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _table,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _rebuild_tensor_v3,
    ("torch._utils", "_rebuild_parameter"): _first,
    # Training programs also store the counts of a scheduler, and bytes in the second pickle protocol.
    ("collections", "Counter"): _table,
    ("_codecs", "encode"): _first,
    ("torch", "Size"): tuple,
    ("torch", "device"): lambda *names: ":".join(map(str, names)),
    ("builtins", "set"): list,
    ("__builtin__", "set"): list,
    ("torch.jit._pickle", "build_intlist"): list,
    ("torch.jit._pickle", "build_doublelist"): list,
    ("torch.jit._pickle", "build_boollist"): list,
    ("torch.jit._pickle", "build_tensorlist"): list,
    ("torch.jit._pickle", "restore_type_tag"): _first,
    **{("torch", name): StorageRef("", dtype, 0) for name, dtype in STORAGE_DTYPES.items()},
    **{("torch.storage", name): StorageRef("", dtype, 0) for name, dtype in STORAGE_DTYPES.items()},
    **{("torch", name): _Dtype(name) for name in _DTYPES},
}


# The unpickler is the one written in Python. The one in C allocates memory by numbers in the file, and hashes any key.
class _DataUnpickler(pickle._Unpickler):  # noqa: SLF001 - a documented fallback of the public class
    """An unpickler that resolves the closed list of names and storages, and nothing else."""

    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    stack: list[Any]

    def __init__(self, data: bytes, origin: str) -> None:
        super().__init__(io.BytesIO(data))
        self._origin = origin
        self._script_classes: dict[str, type[ScriptObject]] = {}

    def _load_empty_table(self) -> None:
        self.append(_Table())

    def _load_table(self) -> None:
        items = self.pop_mark()
        self.append(_Table(zip(items[::2], items[1::2], strict=True)))

    # A set becomes a list, so that its items are not hashed.
    def _load_empty_set(self) -> None:
        self.append([])

    def _load_items(self) -> None:
        items = self.pop_mark()
        self.stack[-1].extend(items)

    def _load_frozen_set(self) -> None:
        items = self.pop_mark()  # comes first: it replaces the stack that `append` writes to
        self.append(items)

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,  # noqa: SLF001 - likewise
        pickle.EMPTY_DICT[0]: _load_empty_table,
        pickle.DICT[0]: _load_table,
        pickle.EMPTY_SET[0]: _load_empty_set,
        pickle.ADDITEMS[0]: _load_items,
        pickle.FROZENSET[0]: _load_frozen_set,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return the inert stand-in of a name.

        Raises:
            UnsafeCheckpointError: The name has no stand-in.
        """
        if module.partition(".")[0] == "__torch__":
            full = f"{module}.{name}"
            if full not in self._script_classes:
                self._script_classes[full] = type("ScriptObject", (ScriptObject,), {"class_name": full})
            return self._script_classes[full]
        try:
            return _unshared(_ALLOWED[module, name])
        except KeyError:
            asked = f"{module}.{name}"
            raise UnsafeCheckpointError(
                f"{self._origin} asks for `{asked}` in its pickle, which a checkpoint of plain tensors never does. "
                "Loading it would run code that the file contains. Nothing was run and nothing was loaded.",
                path=Path(self._origin),
                name=asked,
                advice="If you trust its author, open it where it was made and save only `model.state_dict()`, "
                "preferably as .safetensors.",
            ) from None

    def persistent_load(self, pid: Any) -> StorageRef:
        """Return the storage of a record ("storage", class, key, location, element count)."""
        kind, stand_in, key, _, count = pid
        if kind != "storage" or not isinstance(stand_in, StorageRef):
            raise pickle.UnpicklingError(f"unknown persistent id {kind!r}")
        return StorageRef(str(key), stand_in.dtype, int(count))


def _unshared(stand_in: Any) -> Any:
    """Copy a stand-in for one use. A pickle can set attributes of its stand-ins, which the next file must not see."""
    if isinstance(stand_in, (StorageRef, _Dtype)):
        return replace(stand_in)
    return partial(stand_in) if isinstance(stand_in, FunctionType) else stand_in


def read_pickle(data: bytes, origin: str) -> Any:
    """Return the object in the pickle of a torch archive, with tensors as TensorRef.

    Args:
        data: The record `data.pkl`.
        origin: The path of the file, for messages.

    Raises:
        UnsafeCheckpointError: The pickle asks for a name outside the closed list.
        pickle.UnpicklingError: The bytes are damaged. Damaged bytes may raise any other exception too; the caller
            names the file.
    """
    return _DataUnpickler(data, origin).load()
