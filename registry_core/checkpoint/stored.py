"""A tensor whose elements are stored in a file without encoding: contiguous and little-endian."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_core.checkpoint.file import CheckpointFile
from registry_core.checkpoint.index import LazyTensor, Stored

if TYPE_CHECKING:
    import torch


def stored_tensor(file: CheckpointFile, dtype: str, shape: tuple[int, ...], offset: int, size: int) -> LazyTensor:
    """Return the tensor at an offset of a file.

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
