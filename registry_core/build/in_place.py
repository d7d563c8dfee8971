"""Write values into the memory of an existing model, and restore the previous values."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


class InPlace:
    """Writes into a model's own memory, so that optimisers and processes that use this memory keep working.

    Tensors keep their device and dtype. The previous values stay on the CPU as long as this object exists. If possible,
    they are kept in the memory that the new values were read into.

    Args:
        model: The model whose parameters and buffers are written.
    """

    def __init__(self, model: nn.Module) -> None:
        self._tensors = [*model.parameters(), *model.buffers()]
        self._requires_grad = [tensor.requires_grad for tensor in self._tensors]
        self._previous: list[tuple[torch.Tensor, torch.Tensor]] = []

    def write(self, values: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Write values in place. All values are read before the first is written: a broken file changes nothing."""
        new = list(values)
        written = {id(target) for target, _ in new}
        # Plugins may write parameters that the file does not hold.
        self._previous = [(tensor, _copy(tensor)) for tensor in self._tensors if id(tensor) not in written]
        reused: set[int] = set()
        while new:
            target, value = new.pop()
            previous = _copy(target)
            self._previous.append((target, previous))  # before the write, in case the write is interrupted
            target.copy_(value)
            if value.dtype == target.dtype and _fills_storage(value) and value.data_ptr() not in reused:
                reused.add(value.data_ptr())
                self._previous[-1] = target, value.copy_(previous)

    @torch.no_grad()
    def undo(self) -> None:
        """Restore every value and every `requires_grad` from before `write`."""
        for tensor, previous in self._previous:
            tensor.copy_(previous)
        for tensor, requires_grad in zip(self._tensors, self._requires_grad, strict=True):
            if tensor.requires_grad != requires_grad:
                tensor.requires_grad_(requires_grad)


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True)


def _fills_storage(tensor: torch.Tensor) -> bool:
    """Whether a tensor fills its whole storage, so that writing to it changes no other tensor."""
    return tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
