"""The one table of what a pickle may apply to arguments. Each function builds a reference or a plain container."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from registry_core.checkpoint.index import ITEM_SIZES
from registry_core.checkpoint.pickle_values import Global, Inert, StorageRef, TensorRef, as_key

Spend = Callable[[int], None]
_MOST_DIMENSIONS = 64  # torch's own limit


def call(function: Global, arguments: tuple[Any, ...], spend: Spend) -> Any:
    """Return what a name makes of its arguments, or an Inert object for a name outside the table.

    Args:
        function: The name.
        arguments: Values that the reader made.
        spend: Pays for copies; raises when the budget is used up.

    Raises:
        TypeError, ValueError: The arguments are not those that torch writes.
    """
    known = CALLS.get((function.module, function.name))
    return Inert(str(function)) if known is None else known(arguments, spend)


def _table(arguments: tuple[Any, ...], spend: Spend) -> dict[Any, Any]:
    """A mapping type: empty, or with pairs or a mapping as its first argument."""
    given = arguments[0] if arguments else ()
    spend(len(given))
    pairs = given.items() if type(given) is dict else [(first, second) for first, second in map(_pair, given)]
    return {as_key(key): value for key, value in pairs}


def _pair(value: Any) -> tuple[Any, Any]:
    if type(value) not in {list, tuple}:
        raise TypeError("a mapping is made of pairs")
    first, second = value
    return first, second


def _default_table(arguments: tuple[Any, ...], spend: Spend) -> dict[Any, Any]:
    return _table(arguments[1:], spend)


def _list(arguments: tuple[Any, ...], spend: Spend) -> list[Any]:
    given = arguments[0] if arguments else ()
    if type(given) not in {list, tuple}:
        raise TypeError("a list is made of a list")
    spend(len(given))
    return list(given)


def _first(arguments: tuple[Any, ...], _: Spend) -> Any:
    return arguments[0]


def _encoded(arguments: tuple[Any, ...], spend: Spend) -> bytes:
    """Bytes in the second pickle protocol."""
    text = arguments[0]
    spend(len(text))
    return str.encode(text, "latin-1")


def _device(arguments: tuple[Any, ...], _: Spend) -> str:
    return ":".join(str(part) for part in arguments[:2] if type(part) in {str, int})


def _size(arguments: tuple[Any, ...], _: Spend) -> tuple[Any, ...]:
    given = arguments[0]
    if type(given) not in {list, tuple}:
        raise TypeError("a size is made of whole numbers")
    return _whole(given)


def _whole(numbers: Any) -> tuple[int, ...]:
    if type(numbers) not in {list, tuple} or len(numbers) > _MOST_DIMENSIONS:
        raise TypeError("a shape is a short list of whole numbers")
    if not all(type(number) is int for number in numbers):
        raise TypeError("a shape holds whole numbers")
    return tuple(numbers)


def _tensor(
    storage: Any, offset: Any, size: Any, strides: Any, *, metadata: Any = None, dtype: str | None = None
) -> TensorRef:
    if type(storage) is not StorageRef or type(offset) is not int:
        raise TypeError("a tensor needs a storage and an offset")
    bits: Mapping[Any, Any] = metadata if type(metadata) is dict else MappingProxyType({})
    name = storage.dtype if dtype is None else dtype
    return TensorRef(
        storage, offset, _whole(size), _whole(strides), name, bits.get("neg") is True, bits.get("conj") is True
    )


def _tensor_v1(arguments: tuple[Any, ...], _: Spend) -> TensorRef:
    return _tensor(*arguments[:4])


def _tensor_v2(arguments: tuple[Any, ...], _: Spend) -> TensorRef:
    return _tensor(*arguments[:4], metadata=arguments[6] if len(arguments) > 6 else None)  # noqa: PLR2004


def _tensor_v3(arguments: tuple[Any, ...], _: Spend) -> TensorRef:
    dtype = arguments[6]
    if type(dtype) is not Global or dtype.module != "torch" or dtype.name not in ITEM_SIZES:
        raise TypeError("a tensor of an unknown dtype")
    return _tensor(*arguments[:4], metadata=arguments[7] if len(arguments) > 7 else None, dtype=dtype.name)  # noqa: PLR2004


_TENSORS = {
    ("torch._utils", "_rebuild_tensor"): _tensor_v1,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor_v2,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_v3,
}


def _of_type(arguments: tuple[Any, ...], spend: Spend) -> Any:
    """A tensor with attributes of its own, or of a subclass: the tensor."""
    function, _, inner = arguments[:3]
    known = _TENSORS.get((function.module, function.name)) if type(function) is Global else None
    if known is None or type(inner) is not tuple:
        return Inert("a tensor of a class of its own")
    return known(inner, spend)


CALLS: Mapping[tuple[str, str], Callable[[tuple[Any, ...], Spend], Any]] = MappingProxyType({
    **_TENSORS,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_parameter_with_state"): _first,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_type,
    ("torch", "Size"): _size,
    ("torch", "device"): _device,
    ("torch.jit._pickle", "build_intlist"): _list,
    ("torch.jit._pickle", "build_doublelist"): _list,
    ("torch.jit._pickle", "build_boollist"): _list,
    ("torch.jit._pickle", "build_tensorlist"): _list,
    ("torch.jit._pickle", "restore_type_tag"): _first,
    ("collections", "OrderedDict"): _table,
    ("collections", "Counter"): _table,
    ("collections", "defaultdict"): _default_table,
    ("_codecs", "encode"): _encoded,
    ("builtins", "set"): _list,
    ("__builtin__", "set"): _list,
    ("builtins", "frozenset"): _list,
    ("__builtin__", "frozenset"): _list,
})  # fmt: skip
