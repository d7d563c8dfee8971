"""NumPy's .npz archives, as JAX programs write them: a zip of .npy records, each a header and the elements.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from math import prod
from operator import index
from typing import TYPE_CHECKING, Any

from registry_core.checkpoint.index import ITEM_SIZES, LazyTensor

if TYPE_CHECKING:
    import torch

    from registry_core.checkpoint.file import CheckpointFile
    from registry_core.checkpoint.zip_records import ZipRecords

_MAGIC = b"\x93NUMPY"
_SUFFIX = ".npy"
_MOST_HEADER = 10_000  # bytes; NumPy's own limit, which keeps nested brackets from taking the memory
_DTYPES = {
    "<f8": "float64", "<f4": "float32", "<f2": "float16", "<i8": "int64", "<i4": "int32", "<i2": "int16",
    "|i1": "int8", "|u1": "uint8", "|b1": "bool",
    "|V2": "bfloat16",  # NumPy has no name for bfloat16; JAX writes two bytes per element
}  # fmt: skip


def is_npz(names: Sequence[str]) -> bool:
    """Whether the records of a zip are arrays and nothing else."""
    return bool(names) and all(name.endswith(_SUFFIX) for name in names)


def read_contents(file: CheckpointFile, records: ZipRecords) -> dict[str, LazyTensor]:
    """Return the arrays of an open .npz, by name.

    Raises:
        CheckpointError: An array is not in C order, has a dtype that torch lacks, or is damaged. Arrays of Python
            objects are pickles and are not read.
    """
    return {name.removesuffix(_SUFFIX): _tensor(file, records, name) for name in records.names}


def _tensor(file: CheckpointFile, records: ZipRecords, name: str) -> LazyTensor:
    dtype, shape, offset = _header(file, records, name)
    size = prod(shape) * ITEM_SIZES[dtype]
    held = records.size(name)
    if min(shape, default=0) < 0 or held != offset + size:
        raise file.damaged(
            f"its array {name} of shape {shape} does not fit its record", name=name, expected=offset + size, found=held
        )

    def load() -> torch.Tensor:
        from registry_core.checkpoint.read import tensor_from_bytes

        return tensor_from_bytes(bytearray(records.read(name, offset, size)), dtype, shape).clone()  # aligned

    return LazyTensor(dtype, shape, load)


def _header(file: CheckpointFile, records: ZipRecords, name: str) -> tuple[str, tuple[int, ...], int]:
    """Return the dtype and the shape of an array, and the offset of its elements in its record."""
    start = records.read(name, 0, min(_MOST_HEADER, records.size(name)))
    if start[:6] != _MAGIC:
        raise file.damaged(f"its record {name} is not a .npy array", name=name, expected=_MAGIC, found=start[:6])
    begin = 8 + (2 if start[6:7] == b"\x01" else 4)
    offset = begin + int.from_bytes(start[8:begin], "little")
    if offset > len(start):
        raise file.damaged(f"its array {name} has a header of {offset:,} bytes", name=name, found=offset)
    try:
        header: dict[str, Any] = ast.literal_eval(start[begin:offset].decode("latin1"))
        dtype, shape = _DTYPES[header["descr"]], tuple(map(index, header["shape"]))
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError) as error:
        raise file.damaged(
            f"its array {name} has a header or dtype that is not supported ({error!s:.200})", name=name
        ) from error
    if header.get("fortran_order") and len(shape) > 1:
        raise file.damaged(f"its array {name} is in Fortran order, which is not supported", name=name)
    return dtype, shape, offset
