"""Tiny models to train in one process with a whole batch, or in several processes with parts of it."""

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
# A text of a DA-CLIP consists of two texts.
TEXTS = {"clip": 1, "siglip": 1, "coca": 1, "daclip": 2}
PROCESSES_BATCH = 3


def registry():
    """Return a registry with a model of each kind."""
    fresh = Registry()
    for name, config in CONFIGS.items():
        fresh.add_config(config, name)
    fresh.add_config(SMALL, "base")
    return fresh


def create(registry, kind):
    """Return a model in training mode, in float64 so that results can be compared closely."""
    torch.manual_seed(3)
    model = registry.create("daclip_base" if kind == "daclip" else kind, False).double().train()
    if kind == "daclip":
        model.lock_clip()  # as in its training; the scale of the base model is not used
        torch.nn.init.normal_(model.visual_control.transformer.zero_modules[0].weight, std=0.1)
    model.output_dict = True
    return model


def batch(kind, processes):
    """Return images, and texts without padding."""
    generator = torch.Generator().manual_seed(5)
    rows = PROCESSES_BATCH * processes
    images = torch.randn(rows, 3, 16, 16, generator=generator, dtype=torch.float64)
    return images, torch.randint(1, 39, (rows, 8 * TEXTS[kind]), generator=generator)


def gradients(model, loss, images, texts):
    """Return the gradient of the sum of the losses for each parameter."""
    sum(loss(**model(images, texts), output_dict=True).values()).backward()
    inner = getattr(model, "module", model)
    return {name: parameter.grad for name, parameter in inner.named_parameters() if parameter.requires_grad}
