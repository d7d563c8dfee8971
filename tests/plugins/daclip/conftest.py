"""Inputs, outputs and models of the original DA-CLIP."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture
def figures(golden):
    """Tensors by name: the inputs `in.*`, and the outputs of the original for them."""
    return load_file(golden / "daclip_tiny_io.safetensors")


@pytest.fixture
def full(registry, golden):
    """The model with all weights of the original, including the control tower."""
    return registry.create("daclip_tiny", golden / "daclip_tiny_full.pt")


@pytest.fixture
def base(registry, golden):
    """The model over a plain CLIP checkpoint, with an initial controller."""
    return registry.create("daclip_tiny", golden / "daclip_tiny_clip.pt")


@pytest.fixture
def image():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def text():
    return torch.randint(1, 600, (2, 77), generator=torch.Generator().manual_seed(2))
