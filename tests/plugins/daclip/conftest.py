"""Inputs and outputs of the original DA-CLIP, and a way to make every parameter of a model count."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture
def figures(golden):
    """Tensors by name: `in.*`, and what the original gave for them."""
    return load_file(golden / "daclip_tiny_io.safetensors")


@pytest.fixture
def full(registry, golden):
    """The model with all weights of the original's, control tower included."""
    return registry.create("daclip_tiny", golden / "daclip_tiny_full.pt")


@pytest.fixture
def base(registry, golden):
    """The model over a plain CLIP checkpoint, its controller just started."""
    return registry.create("daclip_tiny", golden / "daclip_tiny_clip.pt")


@pytest.fixture
def image():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def text():
    return torch.randint(1, 600, (2, 77), generator=torch.Generator().manual_seed(2))
