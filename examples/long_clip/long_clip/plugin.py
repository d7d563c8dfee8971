"""The hooks of long_clip. torch is imported only when a model is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from registry_core import hookimpl, tag_table, tag_weights

from .config import PREFIX, LongClipConfig, can_be_base

if TYPE_CHECKING:
    from torch import nn

    from registry_core import Conversion, LazyTensor, ModelConfig, PluginRegistry, RawConfig, Weights

REGISTRY_CORE_API = 1

_tags = tag_table(__package__)


@hookimpl
def derive_models(base: Mapping[str, RawConfig]) -> Mapping[str, str]:
    return {PREFIX + name: name for name, raw in base.items() if can_be_base(raw)}


@hookimpl
def list_pretrained() -> Sequence[tuple[str, str]]:
    return list(_tags())


@hookimpl
def resolve_config(name: str, raw: RawConfig | None, registry: PluginRegistry) -> ModelConfig | None:
    if raw is not None:
        mine = raw.get("architecture") == LongClipConfig.architecture
        return LongClipConfig.parse(raw, name) if mine else None
    base = registry.services.base_of(name, PREFIX)
    return None if base is None else LongClipConfig.over(base.config, name)


@hookimpl
def resolve_pretrained(name: str, config: ModelConfig, tag: str, registry: PluginRegistry) -> Weights | None:
    """Return the published weights, or those of the base model's tag."""
    if (name, tag) in _tags():
        return tag_weights(tag, _tags()[name, tag])
    mine = isinstance(config, LongClipConfig) and name.startswith(PREFIX)
    return registry.services.find_tag(name.removeprefix(PREFIX), tag) if mine else None


@hookimpl
def build_model(config: LongClipConfig, tower: str | None) -> nn.Module:
    from .model import LongCLIP

    return LongCLIP(config, tower)


@hookimpl
def convert_state_dict(config: LongClipConfig, trained: LongClipConfig, state: Mapping[str, LazyTensor]) -> Conversion:
    """A plain CLIP's text positions are stretched; those of a Long-CLIP stay as they are."""
    from .convert import convert

    return convert(config, trained, state)
