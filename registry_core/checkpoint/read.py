"""Read bytes into tensors.

The loader chooses one of three ways. Two threads read all tensors of a file into one private buffer, or the file is
mapped copy-on-write, or the tensors are read one by one. In the first two, each tensor has its own storage over a part
of the buffer, so that saving one tensor writes that tensor only.
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

_CHUNK = 16 << 20  # bytes per read call: large enough to amortise the call, small enough to balance two threads
_THREADS = 2
_ALIGNMENT = 64  # bytes; the alignment of torch's own allocator on a CPU
_OWN_PAGES = 1 << 20  # tensors of at least this many bytes get their own pages: a partly used last page costs little
_GAP = 1 << 16  # gaps up to this size in bytes are read too, which is cheaper than another call


def dtype_of(name: str) -> torch.dtype:
    """Return torch's dtype of a name, such as "float32"."""
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def tensor_from_bytes(data: bytearray | mmap.mmap, dtype: str, shape: tuple[int, ...], offset: int = 0) -> torch.Tensor:
    """Return a tensor over writable memory. The tensor keeps the memory alive."""
    if prod(shape) == 0:
        return torch.empty(shape, dtype=dtype_of(dtype))
    flat = torch.frombuffer(data, dtype=dtype_of(dtype), count=prod(shape), offset=offset)
    # A file may store parameters at any offset, but kernels expect elements at multiples of their size.
    return (flat.clone() if flat.data_ptr() % ITEM_SIZES[dtype] else flat).reshape(shape)


def strided_from_bytes(data: bytearray, dtype: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> torch.Tensor:
    """Return a contiguous tensor of elements that are stored with strides."""
    if prod(shape) == 0:
        return torch.empty(shape, dtype=dtype_of(dtype))
    elements = torch.frombuffer(data, dtype=dtype_of(dtype)).as_strided(shape, strides)
    return elements.clone(memory_format=torch.contiguous_format)


def read_one(file: CheckpointFile, offset: int, dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
    """Read one tensor, whose elements are stored from `offset` on, into its own memory.

    Raises:
        CheckpointError: The file ends early.
    """
    size = prod(shape) * ITEM_SIZES[dtype]
    if size >= _OWN_PAGES:
        # A tensor that is only read to be cast is freed soon. Its own pages return to the system at once; malloc might
        # keep them.
        buffer = _private_memory(size)
        file.read_into(memoryview(buffer), offset)
        return tensor_from_bytes(buffer, dtype, shape)
    tensor = torch.empty(shape, dtype=dtype_of(dtype), device="cpu")
    if tensor.nbytes:
        # torch's own memory is aligned. It is filled by its address, because numpy may not be installed.
        memory = (ctypes.c_char * tensor.nbytes).from_address(tensor.data_ptr())
        file.read_into(memoryview(memory).cast("B"), offset)
    return tensor


def read_private(file: CheckpointFile, tensors: Sequence[LazyTensor]) -> list[torch.Tensor]:
    """Read all tensors into one private buffer, which later changes of the file do not affect.

    Each tensor begins at the alignment of torch's own allocator. At other addresses kernels sum in another order, and
    the last bits of a result would depend on the offsets of the tensors in the file.

    Raises:
        CheckpointError: The file ends early.
    """
    runs = _aligned([(stored.offset, stored.offset + stored.size) for stored in _distinct(tensors).values()])
    if not runs:
        return [tensor.load() for tensor in tensors]
    # Pages of a private anonymous map take no memory until something is read into them.
    buffer = _private_memory(runs[-1].target + runs[-1].end - runs[-1].begin)
    _fill(file, memoryview(buffer), [chunk for run in runs for chunk in run.chunks()])
    return _over_buffer(tensors, buffer, runs)


def _private_memory(size: int) -> mmap.mmap:
    """Allocate memory that no other process shares."""
    if not hasattr(mmap, "MAP_PRIVATE"):  # on Windows, anonymous maps are private
        return mmap.mmap(-1, size)
    # Python's default is shared memory, through which a forked child would change its parent's parameters.
    # Huge pages are not requested. A virtual machine may return free blocks to its host; then each huge page must be
    # requested from the host again, at four times the cost of the copy.
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def read_mapped(file: CheckpointFile, tensors: Sequence[LazyTensor]) -> list[torch.Tensor]:
    """Map all tensors copy-on-write. If the file is truncated later, the next access ends the process."""
    if not _distinct(tensors):
        return [tensor.load() for tensor in tensors]
    whole = mmap.mmap(file.stream.fileno(), 0, access=mmap.ACCESS_COPY)
    return _over_buffer(tensors, whole, [_Run(0, len(whole), 0)])


@dataclass(frozen=True, slots=True)
class _Run:
    """The bytes from `begin` to `end` of the file, which are stored together in a buffer from `target` on."""

    begin: int
    end: int
    target: int

    def chunks(self) -> list[_Run]:
        """Split the run into parts that are read by one call each."""
        cuts = pairwise([*range(self.begin, self.end, _CHUNK), self.end])
        return [_Run(begin, end, self.target + begin - self.begin) for begin, end in cuts]


def _distinct(tensors: Sequence[LazyTensor]) -> dict[int, Stored]:
    """Return where tensors are stored, by their index in `tensors` and in the order of the file.

    Tensors without bytes, and tensors that overlap an earlier one in the file, are left out.
    """
    located = [(index, tensor.stored) for index, tensor in enumerate(tensors) if tensor.stored and tensor.stored.size]
    result: dict[int, Stored] = {}
    used_until = 0
    for index, stored in sorted(located, key=lambda item: item[1].offset):
        if stored.offset >= used_until:
            result[index] = stored
            used_until = stored.offset + stored.size
    return result


def _aligned(spans: Sequence[tuple[int, int]]) -> list[_Run]:
    """Join ascending spans to runs. In the buffer each span begins at a multiple of _ALIGNMENT.

    A span joins the run before it if the gap between them is small and the alignment is kept.
    """
    runs: list[_Run] = []
    for begin, end in spans:
        last = runs[-1] if runs else _Run(begin, begin, 0)
        target = last.target + begin - last.begin
        if runs and begin <= last.end + _GAP and target % _ALIGNMENT == 0:
            runs[-1] = _Run(last.begin, end, last.target)
        else:
            unused = last.target + last.end - last.begin
            runs.append(_Run(begin, end, -(-unused // _ALIGNMENT) * _ALIGNMENT))
    return runs


def _over_buffer(tensors: Sequence[LazyTensor], buffer: mmap.mmap, runs: Sequence[_Run]) -> list[torch.Tensor]:
    """Return each tensor over the buffer. A tensor that `_distinct` leaves out is read into its own memory."""
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
    if not hasattr(os, "preadv"):  # on Windows one thread reads, because all reads share the position of the file
        for chunk in chunks:
            size = chunk.end - chunk.begin
            target[chunk.target : chunk.target + size] = file.bytes_at(chunk.begin, size)
        return
    descriptor = file.stream.fileno()

    def read(chunk: _Run) -> None:
        offset, rest = chunk.begin, target[chunk.target : chunk.target + chunk.end - chunk.begin]
        while rest:
            count = os.preadv(descriptor, [rest], offset)
            if count == 0:
                raise file.truncated(chunk.end)
            offset, rest = offset + count, rest[count:]

    with ThreadPoolExecutor(_THREADS) as pool:
        for _ in pool.map(read, chunks):
            pass
