"""Create models with known parameters, and compare models. torch is imported inside the functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from registry_core import Registry


def created(registry: Registry, name: str, seed: int = 0) -> nn.Module:
    """Create a model with random parameters from a seed."""
    import torch

    torch.manual_seed(seed)
    return registry.create(name, pretrained=False)


def write_state(state: Mapping[str, torch.Tensor], path: Path) -> Path:
    """Write a state dict with torch.save, and return the path."""
    import torch

    torch.save(dict(state), path)
    return path


def differing(one: nn.Module, other: nn.Module) -> list[str]:
    """Return the state dict names that only one of two models has, or whose tensors are not equal."""
    import torch

    first, second = one.state_dict(), other.state_dict()
    unequal = [name for name in first.keys() & second.keys() if not torch.equal(first[name], second[name])]
    return sorted([*(first.keys() ^ second.keys()), *unequal])


def unwritten(model: nn.Module) -> list[str]:
    """Return the parameters and buffers that contain NaN or infinity."""
    return [name for name, tensor in model.state_dict().items() if not bool(tensor.isfinite().all())]


@contextmanager
def filled_with_nan() -> Iterator[None]:
    """Fill uninitialised memory with NaN inside the context, so that unwritten parameters are found."""
    import torch

    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    settings: Any = torch.utils.deterministic  # torch's types do not declare the module's attribute
    filled = settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    settings.fill_uninitialized_memory = True
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
        settings.fill_uninitialized_memory = filled
