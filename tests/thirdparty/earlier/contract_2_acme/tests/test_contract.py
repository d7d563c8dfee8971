"""The contract that every plugin of registry_core keeps."""

from __future__ import annotations

from registry_core.testing import ArchitectureContract


class TestContract(ArchitectureContract):
    plugin = "acme_second"
    small = {
        "embed_dim": 24,
        "adapter_width": 8,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 12, "vocab_size": 100, "width": 32, "heads": 2, "layers": 2},
    }

    def pictures(self, config):
        import torch

        return torch.rand(2, 3, *config.image_size)
