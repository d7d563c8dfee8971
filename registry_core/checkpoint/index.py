"""The index of a checkpoint: the tensors of a file and their locations, before any tensor is read. Free of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from registry_core.checkpoint.file import CheckpointFile

# Size of an element in bytes, by torch's name of the dtype.
ITEM_SIZES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "complex64": 8, "complex128": 16,
    "uint16": 2, "uint32": 4, "uint64": 8,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Stored:
    """Where the elements of a tensor are stored in a file: contiguous, little-endian.

    Attributes:
        offset: Offset of the first byte.
        size: Size in bytes.
        file: The open file; a checkpoint may consist of several.
    """

    offset: int
    size: int
    file: CheckpointFile | None = None


@dataclass(frozen=True, slots=True)
class LazyTensor:
    """A tensor of a checkpoint that is not read yet.

    Attributes:
        dtype: torch's name of the dtype, such as "float32".
        shape: Shape of the tensor that `load` returns.
        load: Reads the tensor and applies the conversions.
        stored: Where the tensor is stored, if the bytes of the file are its elements; None if it must be computed.
        note: What conversions did to the tensor, for the report.
    """

    dtype: str
    shape: tuple[int, ...]
    load: Callable[[], torch.Tensor]
    stored: Stored | None = None
    note: str = ""

    @classmethod
    def zeros(cls, shape: tuple[int, ...], dtype: str = "float32") -> LazyTensor:
        """Return a tensor of zeros, for a parameter that a layout omits because it is zero there."""

        def load() -> torch.Tensor:
            import torch

            return torch.zeros(shape, dtype=getattr(torch, dtype))

        return cls(dtype, shape, load, note="not in the file, set to 0")

    def map(self, function: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, ...], note: str) -> LazyTensor:
        """Return the tensor that `function` computes from this one when it is read.

        Args:
            function: Computes the new tensor. The dtype must stay the same.
            shape: Shape of the new tensor.
            note: What the function does, for the report; added to the existing note.
        """
        inner = self.load
        joined = ", ".join(filter(None, (self.note, note)))
        return LazyTensor(self.dtype, shape, lambda: function(inner()), None, joined)

    def reshaped(self, shape: tuple[int, ...], note: str) -> LazyTensor:
        """Return the same elements under another shape of equal size."""
        if self.stored is not None and prod(shape) == prod(self.shape):
            inner = self.load
            return replace(self, shape=shape, load=lambda: inner().reshape(shape), note=note)
        return self.map(lambda tensor: tensor.reshape(shape), shape, note)

    @property
    def size(self) -> int:
        """Size in bytes, as stored or as computed."""
        return prod(self.shape) * ITEM_SIZES[self.dtype]


@dataclass(frozen=True, slots=True)
class CheckpointIndex:
    """The content of a checkpoint file.

    Attributes:
        format: Name of the format for people, such as "torch zip archive".
        tensors: The tensors by the names in the file, without training prefixes.
        notes: How the tensors were found: the container key, the prefixes that were stripped.
        unread: Entries next to the tensors that are objects of other classes, and these classes. They are never
            constructed.
    """

    format: str
    tensors: Mapping[str, LazyTensor]
    notes: tuple[str, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conversion:
    """The tensors of a checkpoint under a model's own names.

    Attributes:
        state: Model parameter name -> tensor.
        left_to_owner: Parameters, or modules with all their parameters, that the checkpoint does not hold and that the
            owner writes in `post_load`.
        kind: What the plugin recognised, for the report, such as "plain CLIP".
    """

    state: Mapping[str, LazyTensor]
    left_to_owner: tuple[str, ...] = ()
    kind: str = ""

    def leaves(self, name: str) -> bool:
        """Whether a parameter is left to the owner."""
        return is_left(name, self.left_to_owner)


def is_left(name: str, parts: Iterable[str]) -> bool:
    """Whether `parts` contains a parameter itself or a module that contains it."""
    return any(name == part or name.startswith(f"{part}.") for part in parts)
