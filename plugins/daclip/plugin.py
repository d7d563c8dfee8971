"""The hooks of daclip. torch is imported only when a model is built.

Every CLIP with a native ViT image tower has a DA-CLIP, `daclip_<name>`. Its base model is resolved by the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from registry_core import ImageAspects, hookimpl, local_weights

from .config import DEGRADATIONS, PREFIX, DaClipConfig, base_raw, can_be_base

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from registry_core import (
        Conversion,
        LazyTensor,
        LoadReport,
        LossOptions,
        ModelConfig,
        PluginRegistry,
        RawConfig,
        Weights,
    )

REGISTRY_CORE_API = 2


@hookimpl
def derive_models(base: Mapping[str, RawConfig]) -> Mapping[str, str]:
    return {PREFIX + name: name for name, raw in base.items() if can_be_base(raw)}


@hookimpl
def resolve_config(name: str, raw: RawConfig | None, registry: PluginRegistry) -> ModelConfig | None:
    if raw is not None:
        mine = raw.get("architecture") == DaClipConfig.architecture
        return DaClipConfig.over(registry.services.claim(base_raw(raw), name).config, name) if mine else None
    base = registry.services.base_of(name, PREFIX)
    return None if base is None else DaClipConfig.over(base.config, name)


@hookimpl
def resolve_pretrained(name: str, config: ModelConfig, tag: str, registry: PluginRegistry) -> Weights | None:
    """Return the weights of the base model's tag, or of a local path if the base has no such tag."""
    if not isinstance(config, DaClipConfig):
        return None
    found = registry.services.find_tag(name.removeprefix(PREFIX), tag)
    return found if found is not None else local_weights(tag)


@hookimpl
def build_model(config: DaClipConfig, tower: str | None, registry: PluginRegistry) -> nn.Module:
    from .model import DaCLIP

    return DaCLIP(registry.services.build(config.base, tower), config, tower)


@hookimpl
def build_tokenizer(config: DaClipConfig, registry: PluginRegistry) -> Callable[[str | list[str]], Tensor] | None:
    return registry.services.own_tokenizer(config.base)


@hookimpl
def build_preprocess(config: DaClipConfig, train: bool, registry: PluginRegistry) -> Callable[[Image], Tensor] | None:
    return registry.services.own_transform(config.base, train=train)


@hookimpl
def build_loss(options: LossOptions) -> nn.Module:
    options.own("DaClipLoss")
    from .loss import DaClipLoss

    return DaClipLoss(**options.contrastive())


@hookimpl
def convert_state_dict(
    config: DaClipConfig, trained: DaClipConfig, state: Mapping[str, LazyTensor], registry: PluginRegistry
) -> Conversion:
    from .convert import convert

    return convert(config, trained, state, registry)


@hookimpl
def build_aspects(model: nn.Module) -> ImageAspects | None:
    from .model import DaCLIP

    return ImageAspects(model.encode_aspects, {"degradation": DEGRADATIONS}) if isinstance(model, DaCLIP) else None


@hookimpl
def post_load(model: nn.Module, report: LoadReport) -> None:
    """Initialise the controller if the file holds none, and freeze the base, so that only the controller is trained."""
    from .model import DaCLIP

    if isinstance(model, DaCLIP) and (report.random or report.left_to_owner):
        model.initial_controller()
        if report.left_to_owner:
            model.lock_clip()


@hookimpl
def public_classes() -> Mapping[str, str]:
    return {"DaCLIP": f"{__package__}.model:DaCLIP", "DaClipLoss": f"{__package__}.loss:DaClipLoss"}
