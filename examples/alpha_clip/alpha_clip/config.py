"""The config of an Alpha-CLIP, which has the keys and values of its base model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from registry_core import ConfigError, ModelConfig, RawConfig, TextConfig, VisionConfig

PREFIX = "alphaclip_"


class AlphaVisionConfig(VisionConfig):
    """A native ViT with one more input channel. The type of this config selects the tower."""


class AlphaClipConfig(ModelConfig):
    """The common keys, for native towers."""

    architecture: ClassVar[str] = "alpha_clip"

    vision_cfg: AlphaVisionConfig
    text_cfg: TextConfig

    @classmethod
    def over(cls, base: ModelConfig, name: str) -> AlphaClipConfig:
        """Return the config of the Alpha-CLIP over a plain CLIP.

        Raises:
            ConfigError: The base lacks a native ViT image tower, or its text side is not plain CLIP's.
        """
        if not can_be_base(base.raw()):
            raise ConfigError(
                f"{name} cannot be built: Alpha-CLIP adds a channel to the native ViT image tower of a plain CLIP, but "
                f"the base has {base.vision_cfg.summary} and {base.text_cfg.summary}. Nothing was built.",
                name=name,
                found=f"{base.vision_cfg.summary} and {base.text_cfg.summary}",
                advice=f"`registry.list_models('{PREFIX}*')` returns the models that can be built.",
            )
        return cls.parse({key: value for key, value in base.raw().items() if key in ModelConfig.model_fields}, name)


def can_be_base(raw: RawConfig) -> bool:
    """Whether a raw config is that of a plain CLIP with a native ViT. Nothing else is validated."""
    vision, text = raw.get("vision_cfg"), raw.get("text_cfg")
    if not isinstance(vision, Mapping) or not isinstance(text, Mapping):
        return False
    special = raw.get("custom_text") or raw.get("multimodal_cfg") or raw.get("base_architecture")
    foreign = "timm_model_name" in vision or "hf_model_name" in text
    mine = raw.get("architecture") == AlphaClipConfig.architecture
    return not (special or foreign or mine) and isinstance(vision.get("layers", 12), int)
