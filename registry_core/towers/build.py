"""Build the tower that a config describes. The type of the config selects the tower."""

from __future__ import annotations

from functools import singledispatch

from registry_core.config.model import (
    HFTextConfig,
    ImageTowerConfig,
    TextConfig,
    TextTowerConfig,
    TimmVisionConfig,
    VisionConfig,
)
from registry_core.errors import BuildError
from registry_core.towers.modified_resnet import ModifiedResNet
from registry_core.towers.protocols import ImageTower, TextTower
from registry_core.towers.text_transformer import TextTransformer
from registry_core.towers.vision_transformer import VisionTransformer


@singledispatch
def build_image_tower(config: ImageTowerConfig, embed_dim: int, *, quick_gelu: bool) -> ImageTower:
    """Build an image tower, [N, 3, height, width] -> [N, embed_dim].

    Args:
        config: Config of the tower. Its type selects the tower; a package may register further types.
        embed_dim: Width of the result.
        quick_gelu: Whether native transformers use OpenAI's activation.

    Raises:
        BuildError: No tower is registered for the type, or the library of the tower is not installed.
    """
    del embed_dim, quick_gelu
    raise _no_tower(config)


@build_image_tower.register
def _native_image_tower(config: VisionConfig, embed_dim: int, *, quick_gelu: bool) -> ImageTower:
    if config.is_vit:
        return VisionTransformer(config, embed_dim, quick_gelu=quick_gelu)
    return ModifiedResNet(config, embed_dim)


@build_image_tower.register
def _timm_image_tower(config: TimmVisionConfig, embed_dim: int, *, quick_gelu: bool) -> ImageTower:
    from registry_core.towers.timm_tower import TimmTower

    del quick_gelu  # timm's models define their own activations
    return TimmTower(config, embed_dim)


@singledispatch
def build_text_tower(config: TextTowerConfig, embed_dim: int, *, quick_gelu: bool) -> TextTower:
    """Build a text tower, [N, L] -> [N, embed_dim].

    Args:
        config: Config of the tower. Its type selects the tower; a package may register further types.
        embed_dim: Width of the result.
        quick_gelu: Whether native transformers use OpenAI's activation.

    Raises:
        BuildError: No tower is registered for the type, or the library of the tower is not installed.
    """
    del embed_dim, quick_gelu
    raise _no_tower(config)


@build_text_tower.register
def _native_text_tower(config: TextConfig, embed_dim: int, *, quick_gelu: bool) -> TextTower:
    return TextTransformer(config, embed_dim, quick_gelu=quick_gelu)


@build_text_tower.register
def _hf_text_tower(config: HFTextConfig, embed_dim: int, *, quick_gelu: bool) -> TextTower:
    from registry_core.towers.hf_text import HFTextTower

    del quick_gelu  # transformers' models define their own activations
    return HFTextTower(config, embed_dim)


def _no_tower(config: ImageTowerConfig | TextTowerConfig) -> BuildError:
    return BuildError(
        f"No tower is registered for a {type(config).__name__}. Nothing was built.",
        name=type(config).__name__,
        advice="The package that provides the config type must register its tower with build_image_tower or "
        "build_text_tower, from registry_core.towers.",
    )
