"""The hooks of custom_text_clip. torch is imported only when a model is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from registry_core import hookimpl, model_table, tag_table, tag_weights

from .config import CustomTextClipConfig, claims

if TYPE_CHECKING:
    from torch import nn

    from registry_core import Conversion, LazyTensor, ModelConfig, RawConfig, Weights

REGISTRY_CORE_API = 2

_models = model_table(__package__)
_tags = tag_table(__package__)


@hookimpl
def list_models() -> Mapping[str, RawConfig]:
    return _models()


@hookimpl
def list_pretrained() -> Sequence[tuple[str, str]]:
    return list(_tags())


@hookimpl
def resolve_config(name: str, raw: RawConfig | None) -> ModelConfig | None:
    if raw is not None:
        return CustomTextClipConfig.parse(raw, name) if claims(raw) else None
    row = _models().get(name)
    return None if row is None else CustomTextClipConfig.parse(row, name)


@hookimpl
def resolve_pretrained(name: str, tag: str) -> Weights | None:
    row = _tags().get((name, tag))
    return None if row is None else tag_weights(tag, row)


@hookimpl
def build_model(config: CustomTextClipConfig, tower: str | None) -> nn.Module:
    from .model import CustomTextCLIP

    return CustomTextCLIP(config, tower)


@hookimpl
def convert_state_dict(config: ModelConfig, trained: ModelConfig, state: Mapping[str, LazyTensor]) -> Conversion:
    from .convert import convert

    return convert(config, trained, state)


@hookimpl
def public_classes() -> Mapping[str, str]:
    return {"CustomTextCLIP": f"{__package__}.model:CustomTextCLIP"}
