"""The safetensors format: eight bytes with the length of the header, a JSON header, then the tensors.

https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
from math import prod
from operator import index
from typing import Any

from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.index import ITEM_SIZES, LazyTensor
from registry_core.checkpoint.stored import stored_tensor

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
    "U16": "uint16", "U32": "uint32", "U64": "uint64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip


def read_contents(file: CheckpointFile) -> dict[str, LazyTensor]:
    """Return the tensors of a safetensors file, by name.

    Raises:
        CheckpointError: The file is truncated, or its header contradicts itself.
    """
    length = int.from_bytes(file.head[:8], "little")
    if 8 + length > file.size:
        raise file.truncated(8 + length)
    try:
        header: dict[str, Any] = json.loads(file.bytes_at(8, length), object_pairs_hook=_unique)
        header.pop("__metadata__", None)
        tensors = {name: _tensor(file, entry, 8 + length) for name, entry in header.items()}
        _refuse_overlaps_and_holes(header, file.size - 8 - length)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise file.damaged(
            f"its safetensors header is not valid ({type(error).__name__}: {error})",
            expected="a valid safetensors header",
        ) from error
    return tensors


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _refuse_overlaps_and_holes(header: dict[str, Any], size: int) -> None:
    """Check that the tensors fill the data without overlaps and holes, as the format demands."""
    end = 0
    for begin, following in sorted(tuple(map(index, entry["data_offsets"])) for entry in header.values()):
        if begin != end:
            raise ValueError(f"the tensors overlap or leave a hole at byte {min(begin, end)}")
        end = following
    if end != size:
        raise ValueError(f"the tensors end at byte {end} of {size}")


def _tensor(file: CheckpointFile, entry: dict[str, Any], data_start: int) -> LazyTensor:
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"the dtype {entry['dtype']} is not one of {', '.join(_DTYPES)}")
    dtype = _DTYPES[entry["dtype"]]
    shape = tuple(map(index, entry["shape"]))  # refuses fractions, also in the offsets below
    begin, end = map(index, entry["data_offsets"])
    if begin < 0 or min(shape, default=0) < 0 or end - begin != prod(shape) * ITEM_SIZES[dtype]:
        raise ValueError(f"{end - begin} bytes for a tensor of shape {shape} and dtype {dtype}")
    return stored_tensor(file, dtype, shape, data_start + begin, end - begin)
