"""The config of a Long-CLIP: the config of its base model with a longer context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from registry_core import ConfigError, ModelConfig, RawConfig, TextConfig, VisionConfig

PREFIX = "longclip_"
KEPT = 20  # leading positions that are not stretched
STRETCH = 4


class LongClipConfig(ModelConfig):
    """The common keys, for native towers."""

    architecture: ClassVar[str] = "long_clip"

    vision_cfg: VisionConfig
    text_cfg: TextConfig

    @classmethod
    def over(cls, base: ModelConfig, name: str) -> LongClipConfig:
        """Return the config of the Long-CLIP over a plain CLIP.

        Raises:
            ConfigError: The base has other towers, or its context is too short.
        """
        if not can_be_base(base.raw()):
            raise ConfigError(
                f"{name} cannot be built: Long-CLIP stretches the text positions of a plain CLIP with native towers "
                f"and more than {KEPT + 1} tokens, but the base has {base.vision_cfg.summary} and "
                f"{base.text_cfg.summary}. Nothing was built.",
                name=name,
                found=f"{base.vision_cfg.summary} and {base.text_cfg.summary}",
                advice=f"`registry.list_models('{PREFIX}*')` returns the models that can be built.",
            )
        raw = {key: value for key, value in base.raw().items() if key in ModelConfig.model_fields}
        length = stretched(base.text_cfg.context_length)
        return cls.parse({**raw, "text_cfg": {**raw["text_cfg"], "context_length": length}}, name)


def stretched(length: int) -> int:
    """Return the stretched context length: 248 for 77."""
    return (length - KEPT) * STRETCH + KEPT


def can_be_base(raw: RawConfig) -> bool:
    """Whether a raw config is that of a plain CLIP with native towers. Nothing else is validated."""
    vision, text = raw.get("vision_cfg"), raw.get("text_cfg")
    if not isinstance(vision, Mapping) or not isinstance(text, Mapping):
        return False
    special = raw.get("custom_text") or raw.get("multimodal_cfg") or raw.get("base_architecture")
    foreign = "timm_model_name" in vision or "hf_model_name" in text
    mine = raw.get("architecture") == LongClipConfig.architecture
    return not (special or foreign or mine) and text.get("context_length", 77) > KEPT + 1
