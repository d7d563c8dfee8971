"""What all tests share: a tiny CLIP, a registry of its own for each test, and the figures of the original DA-CLIP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from registry_core import Registry

# Fixtures that several rooms use; see tests/shared.
pytest_plugins = ["checkpoint_fixtures", "server_fixtures"]

# Threads cost more than they gain on tensors this small, and tests run side by side.
torch.set_num_threads(1)

GOLDEN = Path(__file__).parent / "golden"

TINY = {
    "embed_dim": 48,
    "vision_cfg": {"image_size": 64, "layers": 3, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 600, "width": 64, "heads": 2, "layers": 2},
}
TINY_RESNET = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 32, "patch_size": None},
    "text_cfg": {"context_length": 16, "vocab_size": 600, "width": 32, "heads": 2, "layers": 2},
}


@pytest.fixture(autouse=True)
def _own_surroundings(tmp_path_factory, monkeypatch):
    """No test sees the user's cache, configs or network settings."""
    monkeypatch.setenv("REGISTRY_CORE_CACHE", str(tmp_path_factory.mktemp("cache")))
    for name in ("REGISTRY_CORE_CONFIG_PATH", "REGISTRY_CORE_OFFLINE", "HF_HUB_OFFLINE", "HF_ENDPOINT", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def golden():
    """The folder with figures of the original DA-CLIP."""
    return GOLDEN


@pytest.fixture
def golden_meta():
    return json.loads((GOLDEN / "daclip_tiny_meta.json").read_text())


@pytest.fixture
def registry():
    """A fresh registry of the installed plugins, with `tiny` and `tiny-rn` (and so `daclip_tiny`)."""
    fresh = Registry()
    fresh.add_config(TINY, "tiny")
    fresh.add_config(TINY_RESNET, "tiny-rn")
    return fresh


@pytest.fixture
def tiny_checkpoint(tmp_path, registry):
    """A state dict of `tiny`, written by torch.save."""
    torch.manual_seed(0)
    path = tmp_path / "tiny.pt"
    torch.save(registry.create("tiny", pretrained=False).state_dict(), path)
    return path
