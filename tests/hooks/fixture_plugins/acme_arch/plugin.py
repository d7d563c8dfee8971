from __future__ import annotations

from typing import ClassVar

from registry_core import Conversion, ModelConfig, VisionConfig, hookimpl


class LinearVisionConfig(VisionConfig):
    hidden: int = 8


class LinearConfig(ModelConfig):
    architecture: ClassVar[str] = "acme_arch"

    vision_cfg: LinearVisionConfig


MODELS = {
    "acme-linear": {
        "architecture": "acme_arch",
        "embed_dim": 4,
        "vision_cfg": {"image_size": 8, "hidden": 6},
        "text_cfg": {"vocab_size": 50, "context_length": 5},
    }
}


@hookimpl
def list_models():
    return MODELS


@hookimpl
def resolve_config(name, raw):
    if raw is None:
        raw = MODELS.get(name)
    if raw is None or raw.get("architecture") != LinearConfig.architecture:
        return None
    return LinearConfig.parse(raw, name)


@hookimpl
def build_model(config, tower):
    from .model import LinearClip

    return LinearClip(config, tower)


@hookimpl
def convert_state_dict(state):
    renamed = {name.removeprefix("net."): tensor for name, tensor in state.items()}
    return Conversion(renamed, kind="what Acme's trainer writes")


@hookimpl
def post_load(model):
    from .model import LinearClip, Wrapper

    return Wrapper(model) if isinstance(model, LinearClip) else None


@hookimpl
def build_loss(config, options):
    from .loss import DistanceLoss

    return DistanceLoss(options.rank, options.world_size, **options.own("DistanceLoss", power=config.embed_dim // 2))
