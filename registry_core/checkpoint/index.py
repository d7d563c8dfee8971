"""The index of a checkpoint: what tensors a file holds and where, before any of them is read. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

    from registry_core.checkpoint.file import CheckpointFile

# Bytes an element takes, by torch's name of the dtype.
ITEM_SIZES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "complex64": 8, "complex128": 16,
    "uint16": 2, "uint32": 4, "uint64": 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a tensor's elements lie in a file: contiguous, little-endian.

    Attributes:
        offset: of the first byte.
        size: in bytes.
        file: which file, open; a checkpoint may be in several.
    """

    offset: int
    size: int
    file: CheckpointFile | None = None


class TensorSource(Protocol):
    """An open file that can read one stored tensor into private memory."""

    def read(self, tensor: LazyTensor) -> torch.Tensor:
        """The tensor, in memory of its own."""
        ...


@dataclass(frozen=True, slots=True)
class LazyTensor:
    """A tensor that is known but not read.

    Attributes:
        dtype: torch's name of it, such as "float32".
        shape: of the tensor that `load` returns.
        load: reads it, and applies what conversions added.
        stored: its place in the file, where the file's bytes are the tensor; None where something must be computed.
        note: what conversions did to it, for the report.
    """

    dtype: str
    shape: tuple[int, ...]
    load: Callable[[], torch.Tensor]
    stored: Stored | None = None
    note: str = ""

    @classmethod
    def zeros(cls, shape: tuple[int, ...], dtype: str = "float32") -> LazyTensor:
        """What a layout leaves out since it is zero there."""

        def load() -> torch.Tensor:
            import torch

            return torch.zeros(shape, dtype=getattr(torch, dtype))

        return cls(dtype, shape, load, note="not in the file, set to 0")

    def map(self, function: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, ...], note: str) -> LazyTensor:
        """The tensor that `function` makes of this one, once it is read."""
        inner = self.load
        joined = ", ".join(filter(None, (self.note, note)))
        return LazyTensor(self.dtype, shape, lambda: function(inner()), None, joined)

    def reshaped(self, shape: tuple[int, ...], note: str) -> LazyTensor:
        """The same elements under another shape of equal size."""
        if self.stored is not None and prod(shape) == prod(self.shape):
            inner = self.load
            return replace(self, shape=shape, load=lambda: inner().reshape(shape), note=note)
        return self.map(lambda tensor: tensor.reshape(shape), shape, note)

    @property
    def size(self) -> int:
        """In bytes, as stored or as computed."""
        return prod(self.shape) * ITEM_SIZES[self.dtype]


@dataclass(frozen=True, slots=True)
class CheckpointIndex:
    """What a file holds.

    Attributes:
        format: for people, such as "torch zip archive".
        tensors: by the name the file gives them, prefixes of training stripped.
        notes: what was done to find them: the container key, the prefix.
    """

    format: str
    tensors: Mapping[str, LazyTensor]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Conversion:
    """A checkpoint's tensors under a model's own names.

    Attributes:
        state: model parameter name -> tensor.
        left_to_owner: parameters, or modules with all of theirs, that the checkpoint does not hold and that the owner
            writes in `post_load`.
        kind: what the plugin recognised, for the report, such as "plain CLIP".
    """

    state: Mapping[str, LazyTensor]
    left_to_owner: tuple[str, ...] = ()
    kind: str = ""

    def leaves(self, name: str) -> bool:
        """Whether a parameter is left to the owner."""
        return is_left(name, self.left_to_owner)


def is_left(name: str, parts: Iterable[str]) -> bool:
    """Whether a parameter is one of those named, or of a module that is."""
    return any(name == part or name.startswith(f"{part}.") for part in parts)
