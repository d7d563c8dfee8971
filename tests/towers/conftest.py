"""Towers of any config. Every parameter differs from its initial value."""

from __future__ import annotations

import pytest
import torch

from registry_core import TextConfig, VisionConfig
from registry_core.towers.modified_resnet import ModifiedResNet
from registry_core.towers.text_transformer import TextTransformer
from registry_core.towers.vision_transformer import VisionTransformer

EMBED_DIM = 24


@torch.no_grad()
def shaken(make):
    """A module in evaluation mode, with reproducible parameters that are neither zero nor one.

    Zeros and ones hide mistakes: in a layer scale, a bias or the statistics of a batch norm.
    """
    torch.manual_seed(3)
    module = make()
    generator = torch.Generator().manual_seed(3)
    for parameter in module.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    for name, buffer in module.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.2)
        elif name.endswith("running_var"):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    return module.eval()


@pytest.fixture
def shake():
    """The function `shaken`, for tests of other modules."""
    return shaken


@pytest.fixture
def vit():
    """Makes a VisionTransformer; keys of its config as arguments."""

    def make(*, quick_gelu=False, **keys):
        config = {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 2, **keys}
        return shaken(lambda: VisionTransformer(VisionConfig(**config), EMBED_DIM, quick_gelu=quick_gelu))

    return make


@pytest.fixture
def resnet():
    """Makes a ModifiedResNet; keys of its config as arguments."""

    def make(**keys):
        config = {"image_size": 64, "layers": (1, 2, 1, 1), "width": 8, "head_width": 32, "patch_size": None, **keys}
        return shaken(lambda: ModifiedResNet(VisionConfig(**config), EMBED_DIM))

    return make


@pytest.fixture
def text_tower():
    """Makes a TextTransformer; keys of its config as arguments."""

    def make(*, quick_gelu=False, **keys):
        config = {"context_length": 12, "vocab_size": 100, "width": 32, "heads": 2, "layers": 2, **keys}
        return shaken(lambda: TextTransformer(TextConfig(**config), EMBED_DIM, quick_gelu=quick_gelu))

    return make


@pytest.fixture
def image():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(4))


@pytest.fixture
def ids():
    """Three texts of a start, words, the largest id as their end, and padding."""
    text = torch.zeros(3, 12, dtype=torch.long)
    for row, length in enumerate((4, 7, 12)):
        text[row, :length] = torch.arange(1, length + 1) + 10 * row
        text[row, length - 1] = 99
    return text
