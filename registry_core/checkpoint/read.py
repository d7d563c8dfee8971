"""Bytes into tensors.

Three ways, chosen by the loader: all tensors of a file into one private buffer, read by two threads; the file mapped
copy-on-write; or tensor by tensor. In the first two each tensor has a storage of its own over the buffer, so that
saving one writes that one only.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from math import prod

import torch

from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.index import ITEM_SIZES, LazyTensor

_CHUNK = 16 << 20  # bytes a read call asks for: large enough to amortise the call, small enough to balance two threads
_THREADS = 2
_GAP = 1 << 16  # holes up to this size are read through: cheaper than another call


def dtype_of(name: str) -> torch.dtype:
    """Torch's dtype of that name, such as "float32"."""
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def tensor_from_bytes(data: bytearray | mmap.mmap, dtype: str, shape: tuple[int, ...], offset: int = 0) -> torch.Tensor:
    """A tensor over writable memory, kept alive by it."""
    if prod(shape) == 0:
        return torch.empty(shape, dtype=dtype_of(dtype))
    flat = torch.frombuffer(data, dtype=dtype_of(dtype), count=prod(shape), offset=offset)
    # Parameters may lie anywhere in a file; kernels expect elements at multiples of their size.
    return (flat.clone() if flat.data_ptr() % ITEM_SIZES[dtype] else flat).reshape(shape)


def strided_from_bytes(data: bytearray, dtype: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> torch.Tensor:
    """A contiguous tensor of elements that lie apart."""
    if prod(shape) == 0:
        return torch.empty(shape, dtype=dtype_of(dtype))
    elements = torch.frombuffer(data, dtype=dtype_of(dtype)).as_strided(shape, strides)
    return elements.clone(memory_format=torch.contiguous_format)


def read_private(file: CheckpointFile, tensors: Sequence[LazyTensor]) -> list[torch.Tensor]:
    """All the tensors, in one private buffer that the file's later fate cannot touch.

    Raises:
        CheckpointError: the file ends early.
    """
    spans = [(t.stored.offset, t.stored.offset + t.stored.size) for t in tensors if t.stored and t.stored.size]
    if not spans:
        return [tensor.load() for tensor in tensors]
    first, last = min(begin for begin, _ in spans), max(end for _, end in spans)
    # Pages of a private anonymous map that no read touches take no memory.
    buffer = _private_memory(last - first)
    _fill(file, memoryview(buffer), first, _joined(spans))
    return _over_buffer(tensors, buffer, first)


def _private_memory(size: int) -> mmap.mmap:
    """Memory of this process alone."""
    if not hasattr(mmap, "MAP_PRIVATE"):  # Windows: its own kind is private
        return mmap.mmap(-1, size)
    # Python's default is shared memory, in which a forked child would write its parent's parameters. Huge pages are not
    # asked for: where a virtual machine gives free blocks back to its host, each must be fetched anew, at four times
    # the cost of the copy.
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def read_mapped(file: CheckpointFile, tensors: Sequence[LazyTensor]) -> list[torch.Tensor]:
    """All the tensors, mapped copy-on-write: truncating the file later ends the process at the next access."""
    if not any(tensor.stored and tensor.stored.size for tensor in tensors):
        return [tensor.load() for tensor in tensors]
    return _over_buffer(tensors, mmap.mmap(file.stream.fileno(), 0, access=mmap.ACCESS_COPY), 0)


def _over_buffer(tensors: Sequence[LazyTensor], buffer: mmap.mmap, start: int) -> list[torch.Tensor]:
    """Each tensor over the buffer; one whose bytes another has already taken gets a copy."""
    result: dict[int, torch.Tensor] = {}
    taken_to = -1
    for index, tensor in sorted(enumerate(tensors), key=lambda item: item[1].stored.offset if item[1].stored else -1):
        if tensor.stored is None or tensor.stored.offset < taken_to:
            result[index] = tensor.load()
        else:
            result[index] = tensor_from_bytes(buffer, tensor.dtype, tensor.shape, tensor.stored.offset - start)
            taken_to = tensor.stored.offset + tensor.stored.size
    return [result[index] for index in range(len(tensors))]


def _joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending spans with small holes closed, cut into chunks."""
    ascending = sorted(spans)
    runs = [ascending[0]]
    for begin, end in ascending[1:]:
        if begin <= runs[-1][1] + _GAP:
            runs[-1] = (runs[-1][0], max(runs[-1][1], end))
        else:
            runs.append((begin, end))
    return [chunk for begin, end in runs for chunk in pairwise([*range(begin, end, _CHUNK), end])]


def _fill(file: CheckpointFile, target: memoryview, start: int, chunks: list[tuple[int, int]]) -> None:
    if not hasattr(os, "preadv"):  # Windows: one thread, since reads share the file's position
        for begin, end in chunks:
            target[begin - start : end - start] = file.bytes_at(begin, end - begin)
        return
    descriptor = file.stream.fileno()

    def read(chunk: tuple[int, int]) -> None:
        begin, end = chunk
        while begin < end:
            count = os.preadv(descriptor, [target[begin - start : end - start]], begin)
            if count == 0:
                raise file.truncated(end)
            begin += count

    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(read, chunks):
            pass
