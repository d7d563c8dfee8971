"""The contract of every plugin."""

from __future__ import annotations

from registry_core.testing import ArchitectureContract


class TestContract(ArchitectureContract):
    plugin = "long_clip"
    small = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 60, "vocab_size": 100, "width": 32, "heads": 2, "layers": 2},
    }
