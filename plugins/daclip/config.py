"""The config of a DA-CLIP: that of its base, and who owns the base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import SerializeAsAny

from registry_core import ConfigError, ModelConfig, RawConfig

PREFIX = "daclip_"
# What the published models were trained to tell apart, in the words of https://github.com/Algolzw/daclip-uir.
DEGRADATIONS = (
    "motion-blurry",
    "hazy",
    "jpeg-compressed",
    "low-light",
    "noisy",
    "raindrop",
    "rainy",
    "shadowed",
    "snowy",
    "uncompleted",
)


class DaClipConfig(ModelConfig):
    """The common keys are the base's own.

    Attributes:
        base: the base model's config, as its owner validated it.
    """

    architecture: ClassVar[str] = "daclip"

    base: SerializeAsAny[ModelConfig]

    @classmethod
    def over(cls, base: ModelConfig, name: str) -> DaClipConfig:
        """The DA-CLIP over a base.

        Raises:
            ConfigError: the base is no plain CLIP with a native ViT image tower.
        """
        if not can_be_base(base.raw()):
            raise ConfigError(
                f"{name} cannot be: DA-CLIP adds its controls between the blocks of a plain CLIP with a native ViT "
                f"image tower, and the base has {base.vision_cfg.summary} and {base.text_cfg.summary}. Nothing was "
                f"built. `registry.list_models('{PREFIX}*')` returns the models that can be."
            )
        return cls(**{key: getattr(base, key) for key in ModelConfig.model_fields}, base=base)

    def raw(self) -> dict[str, Any]:
        """The base's raw config with this architecture, and `base_architecture` to lead back to the base's owner."""
        return {**self.base.raw(), "architecture": self.architecture, "base_architecture": self.base.architecture}


def base_raw(raw: RawConfig) -> RawConfig:
    """The base's raw config inside a DA-CLIP's."""
    inner = {key: value for key, value in raw.items() if key not in {"architecture", "base_architecture"}}
    return {**inner, "architecture": raw["base_architecture"]} if "base_architecture" in raw else inner


def can_be_base(raw: RawConfig) -> bool:
    """Whether a raw config has a native ViT image tower and plain CLIP's text side; a look, no validation."""
    vision = raw.get("vision_cfg")
    if not isinstance(vision, Mapping) or raw.get("architecture") == DaClipConfig.architecture:
        return False
    text = raw.get("text_cfg")
    has_text_model = isinstance(text, Mapping) and "hf_model_name" in text
    special = raw.get("custom_text") or raw.get("multimodal_cfg") or "timm_model_name" in vision
    return not (special or has_text_model) and isinstance(vision.get("layers", 12), int)
