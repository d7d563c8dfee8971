"""Models with known values, and what differs between two of them. torch is imported when it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

    from registry_core import Registry


def created(registry: Registry, name: str, seed: int = 0) -> nn.Module:
    """A model with random values of a seed."""
    import torch

    torch.manual_seed(seed)
    return registry.create(name, pretrained=False)


def write_state(state: Mapping[str, torch.Tensor], path: Path) -> Path:
    """A state dict in a file of torch.save."""
    import torch

    torch.save(dict(state), path)
    return path


def differing(one: nn.Module, other: nn.Module) -> list[str]:
    """Names that only one of two models has, or whose tensors differ in a bit."""
    import torch

    first, second = one.state_dict(), other.state_dict()
    unequal = [name for name in first.keys() & second.keys() if not torch.equal(first[name], second[name])]
    return sorted([*(first.keys() ^ second.keys()), *unequal])


def unwritten(model: nn.Module) -> list[str]:
    """Parameters that hold something that is no number."""
    return [name for name, tensor in model.state_dict().items() if not bool(tensor.isfinite().all())]


@contextmanager
def filled_with_nan() -> Iterator[None]:
    """Inside, memory that nobody wrote holds NaN instead of what happens to lie there."""
    import torch

    enabled, lenient = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=lenient)
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]
