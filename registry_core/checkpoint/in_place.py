"""Values into the memory that a model has already, and the former ones back."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


class InPlace:
    """Writes into a model's own memory, so that whatever else looks at it (optimisers, other processes) goes on.

    Tensors keep their device and dtype. The former values are kept on the CPU until the object goes, in the memory that
    the new ones were read into where that is possible.

    Args:
        model: whose parameters and buffers are written.
    """

    def __init__(self, model: nn.Module) -> None:
        self._tensors = [*model.parameters(), *model.buffers()]
        self._required = [tensor.requires_grad for tensor in self._tensors]
        self._former: list[tuple[torch.Tensor, torch.Tensor]] = []

    def write(self, values: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> None:
        """Put values in place; all are read before the first is written, so that a broken file changes nothing."""
        new = list(values)
        written = {id(target) for target, _ in new}
        # What the file does not hold may be written by plugins.
        self._former = [(tensor, _copy(tensor)) for tensor in self._tensors if id(tensor) not in written]
        taken: set[int] = set()
        while new:
            target, value = new.pop()
            former = _copy(target)
            self._former.append((target, former))  # first, so that nothing is lost where the next line is interrupted
            target.copy_(value)
            if value.dtype == target.dtype and _is_alone(value) and value.data_ptr() not in taken:
                taken.add(value.data_ptr())
                self._former[-1] = target, value.copy_(former)

    @torch.no_grad()
    def undo(self) -> None:
        """The values before `write`, and who is trained."""
        for tensor, former in self._former:
            tensor.copy_(former)
        for tensor, required in zip(self._tensors, self._required, strict=True):
            if tensor.requires_grad != required:
                tensor.requires_grad_(required)


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True)


def _is_alone(tensor: torch.Tensor) -> bool:
    """Whether a tensor fills a storage of its own, so that writing it changes no other."""
    return tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
