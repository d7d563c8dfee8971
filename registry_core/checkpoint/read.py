"""Bytes into tensors.

Three ways, chosen by the loader: all tensors of a file into one private buffer, read by two threads; the file mapped
copy-on-write; or tensor by tensor. In the first two each tensor has a storage of its own over the buffer, so that
saving one writes that one only.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch

from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.index import ITEM_SIZES, LazyTensor, Stored

_CHUNK = 16 << 20  # bytes a read call asks for: large enough to amortise the call, small enough to balance two threads
_THREADS = 2
_ALIGNMENT = 64  # bytes; what torch's allocator gives on a CPU
_OWN_PAGES = 1 << 20  # bytes of a tensor, from which on a last page that is not full does not matter
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


def read_one(file: CheckpointFile, offset: int, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
    """One tensor, whose elements lie in the file from `offset` on, in memory of its own.

    Raises:
        CheckpointError: the file ends early.
    """
    size = prod(shape) * ITEM_SIZES[dtype]
    if size >= _OWN_PAGES:
        # Pages of its own go back at once where the tensor is only read to be cast; malloc may keep them.
        buffer = _private_memory(size)
        file.read_into(memoryview(buffer), offset)
        return tensor_from_bytes(buffer, dtype, shape)
    tensor = torch.empty(shape, dtype=dtype_of(dtype), device="cpu")
    if tensor.nbytes:
        # Torch's own memory, since it is aligned; by its address, since numpy need not be installed.
        memory = (ctypes.c_char * tensor.nbytes).from_address(tensor.data_ptr())
        file.read_into(memoryview(memory).cast("B"), offset)
    return tensor


def read_private(file: CheckpointFile, tensors: Sequence[LazyTensor]) -> list[torch.Tensor]:
    """All the tensors, in one private buffer that the file's later fate cannot touch.

    Each begins where torch's own allocator would let it begin. Elsewhere kernels sum in another order, and the last
    bits of a result would depend on where a file has its tensors.

    Raises:
        CheckpointError: the file ends early.
    """
    runs = _aligned([(stored.offset, stored.offset + stored.size) for stored in _distinct(tensors).values()])
    if not runs:
        return [tensor.load() for tensor in tensors]
    # Pages of a private anonymous map that no read touches take no memory.
    buffer = _private_memory(runs[-1].target + runs[-1].end - runs[-1].begin)
    _fill(file, memoryview(buffer), [chunk for run in runs for chunk in run.chunks()])
    return _over_buffer(tensors, buffer, runs)


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
    if not _distinct(tensors):
        return [tensor.load() for tensor in tensors]
    whole = mmap.mmap(file.stream.fileno(), 0, access=mmap.ACCESS_COPY)
    return _over_buffer(tensors, whole, [_Run(0, len(whole), 0)])


@dataclass(frozen=True, slots=True)
class _Run:
    """Bytes of the file, from `begin` to `end`, that lie together in a buffer, from `target` on."""

    begin: int
    end: int
    target: int

    def chunks(self) -> list[_Run]:
        """The run in parts that one call reads."""
        cuts = pairwise([*range(self.begin, self.end, _CHUNK), self.end])
        return [_Run(begin, end, self.target + begin - self.begin) for begin, end in cuts]


def _distinct(tensors: Sequence[LazyTensor]) -> dict[int, Stored]:
    """By position, the places in the file of tensors that have bytes, none of which another has taken; ascending."""
    placed = [(index, tensor.stored) for index, tensor in enumerate(tensors) if tensor.stored and tensor.stored.size]
    result: dict[int, Stored] = {}
    taken_to = 0
    for index, stored in sorted(placed, key=lambda item: item[1].offset):
        if stored.offset >= taken_to:
            result[index] = stored
            taken_to = stored.offset + stored.size
    return result


def _aligned(spans: Sequence[tuple[int, int]]) -> list[_Run]:
    """Ascending spans as runs, in which each begins at a multiple of _ALIGNMENT; small holes are closed."""
    runs: list[_Run] = []
    for begin, end in spans:
        last = runs[-1] if runs else _Run(begin, begin, 0)
        place = last.target + begin - last.begin
        if runs and begin <= last.end + _GAP and place % _ALIGNMENT == 0:
            runs[-1] = _Run(last.begin, end, last.target)
        else:
            free = last.target + last.end - last.begin
            runs.append(_Run(begin, end, -(-free // _ALIGNMENT) * _ALIGNMENT))
    return runs


def _over_buffer(tensors: Sequence[LazyTensor], buffer: mmap.mmap, runs: Sequence[_Run]) -> list[torch.Tensor]:
    """Each tensor over the buffer; one without bytes of its own, or whose bytes another has taken, is read."""
    result = {}
    following = iter(runs)
    run = next(following)
    for index, stored in _distinct(tensors).items():
        while stored.offset >= run.end:
            run = next(following)
        tensor = tensors[index]
        result[index] = tensor_from_bytes(buffer, tensor.dtype, tensor.shape, run.target + stored.offset - run.begin)
    return [result[index] if index in result else tensor.load() for index, tensor in enumerate(tensors)]


def _fill(file: CheckpointFile, target: memoryview, chunks: Sequence[_Run]) -> None:
    if not hasattr(os, "preadv"):  # Windows: one thread, since reads share the file's position
        for chunk in chunks:
            size = chunk.end - chunk.begin
            target[chunk.target : chunk.target + size] = file.bytes_at(chunk.begin, size)
        return
    descriptor = file.stream.fileno()

    def read(chunk: _Run) -> None:
        place, rest = chunk.begin, target[chunk.target : chunk.target + chunk.end - chunk.begin]
        while rest:
            count = os.preadv(descriptor, [rest], place)
            if count == 0:
                raise file.truncated(chunk.end)
            place, rest = place + count, rest[count:]

    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(read, chunks):
            pass
