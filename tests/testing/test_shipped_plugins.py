"""The contract suite on the plugins that come with the package."""

from __future__ import annotations

from registry_core.testing import ArchitectureContract, PluginContract

SMALL = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 12, "vocab_size": 100, "width": 32, "heads": 2, "layers": 2},
}


class TestOpenaiClip(ArchitectureContract):
    plugin = "openai_clip"
    small = SMALL


class TestHub(PluginContract):
    plugin = "hub"


class TestCustomTextClip(ArchitectureContract):
    plugin = "custom_text_clip"
    small = {**SMALL, "custom_text": True}
    most_on_meta = 3


class TestCoca(ArchitectureContract):
    plugin = "coca"
    small = {
        **SMALL,
        "embed_dim": 32,
        "vision_cfg": {
            **SMALL["vision_cfg"],
            "attentional_pool": True,
            "attn_pooler_heads": 2,
            "output_tokens": True,
        },
        "text_cfg": {**SMALL["text_cfg"], "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": 12, "vocab_size": 100, "width": 32, "heads": 2, "layers": 1},
        "custom_text": True,
    }
    most_on_meta = 2


class TestDaclip(ArchitectureContract):
    plugin = "daclip"
    small = {**SMALL, "base_architecture": "openai_clip"}
    most_on_meta = 4

    def forward(self, model, images, texts):
        import torch

        return model(images, torch.cat([texts, texts], dim=-1))
