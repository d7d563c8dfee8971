"""Tensors that are views of storages in a file, and the checks that keep a file from lying about them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING

from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.index import ITEM_SIZES, LazyTensor, Stored
from registry_core.checkpoint.pickle_values import TensorRef

if TYPE_CHECKING:
    import torch

_SMALL = 1 << 20  # bytes that a view may repeat a storage to, whatever the file's size


def stored_tensor(file: CheckpointFile, dtype: str, shape: tuple[int, ...], offset: int, size: int) -> LazyTensor:
    """Return the tensor at an offset of a file, whose elements are contiguous and little-endian.

    Args:
        file: The file, open.
        dtype: torch's name of the dtype, such as "float32".
        shape: Shape of the tensor.
        offset: Offset of its first byte.
        size: Its size in bytes.

    Raises:
        CheckpointError: The tensor would end beyond the end of the file.
    """
    if offset + size > file.size:
        raise file.truncated(offset + size)

    def load() -> torch.Tensor:
        from registry_core.checkpoint.read import read_one

        return read_one(file, offset, dtype, shape)

    return LazyTensor(dtype, shape, load, Stored(offset, size, file))


def view_of_storage(
    file: CheckpointFile, ref: TensorRef, size: int, start: int | None, read: Callable[[int, int], bytes]
) -> LazyTensor:
    """Return the tensor that a pickle describes as a view of a storage.

    Args:
        file: The file, open.
        ref: The view.
        size: Of the storage, in bytes.
        start: Where the storage begins in the file; None if it is compressed.
        read: Reads bytes of the storage: offset and size in it.

    Raises:
        CheckpointError: The view does not fit its storage, or repeats a few elements to more than the file holds.
    """
    item = ITEM_SIZES[ref.dtype]
    begin, length = _span(ref, item)
    numbers = (ref.offset, *ref.shape, *ref.strides)
    if len(ref.shape) != len(ref.strides) or min(numbers) < 0 or begin + length > size:
        raise file.damaged(
            f"a tensor of shape {ref.shape} does not fit its storage {ref.storage.key!r:.80}",
            name=ref.storage.key,
            found=ref.shape,
        )
    total = prod(ref.shape) * item
    if total > max(length, file.size, _SMALL):
        raise file.damaged(
            f"a tensor of shape {ref.shape} repeats {length:,} bytes until they are {total:,}",
            name=ref.storage.key,
            found=ref.shape,
        )
    plain = not ref.negated and not ref.conjugated
    if plain and start is not None and ref.strides == contiguous_strides(ref.shape):
        return stored_tensor(file, ref.dtype, ref.shape, start + begin, length)

    def load() -> torch.Tensor:
        from registry_core.checkpoint.read import strided_from_bytes

        tensor = strided_from_bytes(bytearray(read(begin, length)), ref.dtype, ref.shape, ref.strides)
        tensor = tensor.conj_physical() if ref.conjugated else tensor
        return tensor.neg() if ref.negated else tensor

    return LazyTensor(ref.dtype, ref.shape, load)


def _span(ref: TensorRef, item: int) -> tuple[int, int]:
    """Return the first byte of a view in its storage, and how many bytes it spans."""
    if not prod(ref.shape):
        return ref.offset * item, 0
    last = sum((extent - 1) * stride for extent, stride in zip(ref.shape, ref.strides, strict=False))
    return ref.offset * item, (last + 1) * item


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of a contiguous tensor, in elements."""
    strides = []
    step = 1
    for extent in reversed(shape):
        strides.append(step)
        step *= max(extent, 1)
    return tuple(reversed(strides))
