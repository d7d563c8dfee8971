"""Tiny models that are trained for real: by one process with a whole batch, or by several with parts of it."""

from __future__ import annotations

import torch

from registry_core import Registry

SMALL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 8, "vocab_size": 40, "width": 16, "heads": 2, "layers": 1},
}
COCA = {
    **SMALL,
    "vision_cfg": {
        **SMALL["vision_cfg"],
        "attentional_pool": True,
        "attn_pooler_heads": 2,
        "attn_pooler_queries": 4,
        "output_tokens": True,
    },
    "text_cfg": {**SMALL["text_cfg"], "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {"context_length": 8, "vocab_size": 40, "width": 16, "heads": 2, "layers": 1},
    "custom_text": True,
}
CONFIGS = {"clip": SMALL, "siglip": {**SMALL, "custom_text": True, "init_logit_bias": -2.0}, "coca": COCA}
# Texts of a DA-CLIP hold two texts side by side.
TEXTS = {"clip": 1, "siglip": 1, "coca": 1, "daclip": 2}
PROCESSES_BATCH = 3


def registry():
    """With a model of each kind."""
    fresh = Registry()
    for name, config in CONFIGS.items():
        fresh.add_config(config, name)
    fresh.add_config(SMALL, "base")
    return fresh


def create(registry, kind):
    """A model in training, in float64 so that equal means equal."""
    torch.manual_seed(3)
    model = registry.create("daclip_base" if kind == "daclip" else kind, False).double().train()
    if kind == "daclip":
        model.lock_clip()  # as it is trained; the base's own scale plays no part
        torch.nn.init.normal_(model.visual_control.transformer.zero_modules[0].weight, std=0.1)
    model.output_dict = True
    return model


def batch(kind, processes):
    """Pictures and texts without padding."""
    generator = torch.Generator().manual_seed(5)
    rows = PROCESSES_BATCH * processes
    pictures = torch.randn(rows, 3, 16, 16, generator=generator, dtype=torch.float64)
    return pictures, torch.randint(1, 39, (rows, 8 * TEXTS[kind]), generator=generator)


def gradients(model, loss, pictures, texts):
    """By parameter, of the sum of the losses."""
    sum(loss(**model(pictures, texts), output_dict=True).values()).backward()
    inner = getattr(model, "module", model)
    return {name: parameter.grad for name, parameter in inner.named_parameters() if parameter.requires_grad}
