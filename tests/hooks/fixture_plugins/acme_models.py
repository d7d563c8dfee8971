"""A third-party plugin without an architecture: a model and tags for architectures of other plugins."""

from __future__ import annotations

from registry_core import Url, Weights, hookimpl

MODELS = {
    "acme-vit": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 600, "width": 32, "heads": 2, "layers": 2},
    }
}
TAGS = {("acme-vit", "v1"), ("ViT-B-32", "acme-finetune")}


@hookimpl
def list_models():
    return MODELS


@hookimpl
def list_pretrained():
    return sorted(TAGS)


@hookimpl
def resolve_config(name, raw, registry):
    if raw is not None or name not in MODELS:
        return None
    return registry.services.claim(MODELS[name], name).config


@hookimpl
def resolve_pretrained(name, tag):
    if (name, tag) not in TAGS:
        return None
    return Weights((Url(f"https://weights.acme.invalid/{name}-{tag}.safetensors"),), tag, {"quick_gelu": True})
