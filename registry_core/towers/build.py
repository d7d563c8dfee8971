"""The tower that a config describes: chosen by the config's type."""

from __future__ import annotations

from functools import singledispatch

from torch import nn

from registry_core.config import (
    HFTextConfig,
    ImageTowerConfig,
    TextConfig,
    TextTowerConfig,
    TimmVisionConfig,
    VisionConfig,
)
from registry_core.errors import BuildError
from registry_core.towers.modified_resnet import ModifiedResNet
from registry_core.towers.text_transformer import TextTransformer
from registry_core.towers.vision_transformer import VisionTransformer


@singledispatch
def build_image_tower(config: ImageTowerConfig, embed_dim: int, *, quick_gelu: bool) -> nn.Module:
    """An image tower, [N, 3, height, width] -> [N, embed_dim].

    Args:
        config: its type chooses the tower; a package may register a type of its own.
        embed_dim: width of the result.
        quick_gelu: OpenAI's activation; native transformers only.

    Raises:
        BuildError: no tower is registered for the type, or the library that it is from is not installed.
    """
    del embed_dim, quick_gelu
    raise _no_tower(config)


@build_image_tower.register
def _native_image_tower(config: VisionConfig, embed_dim: int, *, quick_gelu: bool) -> nn.Module:
    if config.is_vit:
        return VisionTransformer(config, embed_dim, quick_gelu=quick_gelu)
    return ModifiedResNet(config, embed_dim)


@build_image_tower.register
def _timm_image_tower(config: TimmVisionConfig, embed_dim: int, *, quick_gelu: bool) -> nn.Module:
    from registry_core.towers.timm_tower import TimmTower

    del quick_gelu  # timm's models have activations of their own
    return TimmTower(config, embed_dim)


@singledispatch
def build_text_tower(config: TextTowerConfig, embed_dim: int, *, quick_gelu: bool) -> nn.Module:
    """A text tower, [N, L] -> [N, embed_dim].

    Args:
        config: its type chooses the tower; a package may register a type of its own.
        embed_dim: width of the result.
        quick_gelu: OpenAI's activation; native transformers only.

    Raises:
        BuildError: no tower is registered for the type, or the library that it is from is not installed.
    """
    del embed_dim, quick_gelu
    raise _no_tower(config)


@build_text_tower.register
def _native_text_tower(config: TextConfig, embed_dim: int, *, quick_gelu: bool) -> nn.Module:
    return TextTransformer(config, embed_dim, quick_gelu=quick_gelu)


@build_text_tower.register
def _hf_text_tower(config: HFTextConfig, embed_dim: int, *, quick_gelu: bool) -> nn.Module:
    from registry_core.towers.hf_text import HFTextTower

    del quick_gelu  # transformers' models have activations of their own
    return HFTextTower(config, embed_dim)


def _no_tower(config: ImageTowerConfig | TextTowerConfig) -> BuildError:
    return BuildError(
        f"No tower is known for a {type(config).__name__}. A package that brings a config type of its own registers "
        "its tower in registry_core.towers.build. Nothing was built."
    )
