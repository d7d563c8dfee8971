"""The config of a DA-CLIP: the config of its base model, and the owner of the base model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import SerializeAsAny

from registry_core import ConfigError, ModelConfig, RawConfig

PREFIX = "daclip_"
# The degradations that the published models distinguish, named as in https://github.com/Algolzw/daclip-uir.
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
    """A config whose common keys are those of the base model.

    Attributes:
        base: Config of the base model, as its owner validated it.
    """

    architecture: ClassVar[str] = "daclip"

    base: SerializeAsAny[ModelConfig]

    @classmethod
    def over(cls, base: ModelConfig, name: str) -> DaClipConfig:
        """Return the config of the DA-CLIP over a base model.

        Args:
            base: Config of the base model.
            name: Name of the DA-CLIP, for messages.

        Raises:
            ConfigError: The base is not a plain CLIP with a native ViT image tower.
        """
        if not can_be_base(base.raw()):
            raise ConfigError(
                f"{name} cannot be built: DA-CLIP adds its controls between the blocks of a plain CLIP with a native "
                f"ViT image tower, but the base has {base.vision_cfg.summary} and {base.text_cfg.summary}. Nothing was "
                "built.",
                name=name,
                expected="a plain CLIP with a native ViT image tower",
                found=f"{base.vision_cfg.summary} and {base.text_cfg.summary}",
                advice=f"`registry.list_models('{PREFIX}*')` returns the models that can be built.",
            )
        return cls(**{key: getattr(base, key) for key in ModelConfig.model_fields}, base=base)

    def raw(self) -> dict[str, Any]:
        """Return the base's raw config with this architecture. `base_architecture` names the owner of the base."""
        return {**self.base.raw(), "architecture": self.architecture, "base_architecture": self.base.architecture}


def base_raw(raw: RawConfig) -> RawConfig:
    """Return the raw config of the base from the raw config of a DA-CLIP."""
    inner = {key: value for key, value in raw.items() if key not in {"architecture", "base_architecture"}}
    return {**inner, "architecture": raw["base_architecture"]} if "base_architecture" in raw else inner


def can_be_base(raw: RawConfig) -> bool:
    """Whether a raw config has a native ViT image tower and plain CLIP's text side. Nothing else is validated."""
    vision = raw.get("vision_cfg")
    if not isinstance(vision, Mapping) or raw.get("architecture") == DaClipConfig.architecture:
        return False
    text = raw.get("text_cfg")
    has_text_model = isinstance(text, Mapping) and "hf_model_name" in text
    special = raw.get("custom_text") or raw.get("multimodal_cfg") or "timm_model_name" in vision
    return not (special or has_text_model) and isinstance(vision.get("layers", 12), int)
