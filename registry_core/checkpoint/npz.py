"""NumPy's .npz archives, as JAX programs write them: a zip of .npy records, each a header and the elements.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import ast
import zipfile
from math import prod
from typing import TYPE_CHECKING, Any

from registry_core.checkpoint.index import ITEM_SIZES, LazyTensor

if TYPE_CHECKING:
    import torch

    from registry_core.checkpoint.file import CheckpointFile

_MAGIC = b"\x93NUMPY"
_SUFFIX = ".npy"
_DTYPES = {
    "<f8": "float64", "<f4": "float32", "<f2": "float16", "<i8": "int64", "<i4": "int32", "<i2": "int16",
    "|i1": "int8", "|u1": "uint8", "|b1": "bool",
    "|V2": "bfloat16",  # NumPy has no name for bfloat16; JAX writes two bytes per element
}  # fmt: skip


def is_npz(archive: zipfile.ZipFile) -> bool:
    """Whether a zip holds arrays and nothing else."""
    names = archive.namelist()
    return bool(names) and all(name.endswith(_SUFFIX) for name in names)


def read_contents(file: CheckpointFile, archive: zipfile.ZipFile) -> dict[str, LazyTensor]:
    """Return the arrays of an open .npz, by name.

    Raises:
        CheckpointError: An array is not in C order, has a dtype that torch lacks, or is damaged. Arrays of Python
            objects are pickles and are not read.
    """
    return {name.removesuffix(_SUFFIX): _tensor(file, archive, name) for name in archive.namelist()}


def _tensor(file: CheckpointFile, archive: zipfile.ZipFile, name: str) -> LazyTensor:
    dtype, shape, offset = _header(file, archive, name)
    size = prod(shape) * ITEM_SIZES[dtype]
    held = archive.getinfo(name).file_size
    if min(shape, default=0) < 0 or held != offset + size:
        raise file.damaged(
            f"its array {name} of shape {shape} does not fit its record", name=name, expected=offset + size, found=held
        )

    def load() -> torch.Tensor:
        from registry_core.checkpoint.read import tensor_from_bytes

        try:
            data = archive.read(name)
        except Exception as error:
            raise file.damaged(f"its array {name} could not be read ({error})", name=name) from error
        return tensor_from_bytes(bytearray(data[offset:]), dtype, shape).clone()  # into aligned memory

    return LazyTensor(dtype, shape, load)


def _header(file: CheckpointFile, archive: zipfile.ZipFile, name: str) -> tuple[str, tuple[int, ...], int]:
    """Return the dtype and the shape of an array, and the offset of its elements in its record."""
    with archive.open(name) as record:
        start = record.read(8)
        if start[:6] != _MAGIC:
            raise file.damaged(f"its record {name} is not a .npy array", name=name, expected=_MAGIC, found=start[:6])
        length = int.from_bytes(record.read(2 if start[6] == 1 else 4), "little")
        try:
            header: dict[str, Any] = ast.literal_eval(record.read(length).decode("latin1"))
            dtype, shape = _DTYPES[header["descr"]], tuple(map(int, header["shape"]))
        except (ValueError, SyntaxError, KeyError, TypeError) as error:
            raise file.damaged(
                f"its array {name} has a header or dtype that is not supported ({error})", name=name
            ) from error
        offset = record.tell()
    if header.get("fortran_order") and len(shape) > 1:
        raise file.damaged(f"its array {name} is in Fortran order, which is not supported", name=name)
    return dtype, shape, offset
