"""The hooks of alpha_clip. torch is imported only when a model is built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from registry_core import hookimpl

from .config import PREFIX, AlphaClipConfig, can_be_base

if TYPE_CHECKING:
    from torch import nn

    from registry_core import Conversion, LazyTensor, LoadReport, ModelConfig, PluginRegistry, RawConfig, Weights

REGISTRY_CORE_API = 1


@hookimpl
def derive_models(base: Mapping[str, RawConfig]) -> Mapping[str, str]:
    return {PREFIX + name: name for name, raw in base.items() if can_be_base(raw)}


@hookimpl
def resolve_config(name: str, raw: RawConfig | None, registry: PluginRegistry) -> ModelConfig | None:
    if raw is not None:
        mine = raw.get("architecture") == AlphaClipConfig.architecture
        return AlphaClipConfig.parse(raw, name) if mine else None
    base = registry.services.base_of(name, PREFIX)
    return None if base is None else AlphaClipConfig.over(base.config, name)


@hookimpl
def resolve_pretrained(name: str, config: ModelConfig, tag: str, registry: PluginRegistry) -> Weights | None:
    """Return the weights of the base model's tag."""
    mine = isinstance(config, AlphaClipConfig) and name.startswith(PREFIX)
    return registry.services.find_tag(name.removeprefix(PREFIX), tag) if mine else None


@hookimpl
def build_model(config: AlphaClipConfig, tower: str | None) -> nn.Module:
    from .model import AlphaCLIP

    return AlphaCLIP(config, tower)


@hookimpl
def convert_state_dict(
    config: AlphaClipConfig, trained: AlphaClipConfig, state: Mapping[str, LazyTensor]
) -> Conversion:
    """A plain CLIP keeps its names. A published image tower gets the prefix `visual.`."""
    from .convert import convert

    return convert(config, trained, state)


@hookimpl
def post_load(model: nn.Module, report: LoadReport) -> None:
    """Set the alpha channel to zero if the file has none."""
    import torch

    from .convert import ALPHA, SCALE
    from .model import AlphaCLIP

    if isinstance(model, AlphaCLIP):
        if ALPHA in report.left_to_owner and model.tower != "text":
            model.visual.reset_alpha()
        if SCALE in report.left_to_owner:
            torch.nn.init.constant_(model.logit_scale, model.config.init_logit_scale)
