"""The config of CLIP with native towers, and which raw configs are its own."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import SerializeAsAny

from registry_core import AnyVisionConfig, ModelConfig, RawConfig, TextConfig


class ClipConfig(ModelConfig):
    """A native text tower, and an image tower of either kind. `custom_text: true` would be another architecture."""

    architecture: ClassVar[str] = "openai_clip"

    vision_cfg: AnyVisionConfig
    text_cfg: SerializeAsAny[TextConfig]
    custom_text: Literal[False] = False


def claims(raw: RawConfig) -> bool:
    """Whether a raw config is plain CLIP: it says so, or nothing in it speaks of a special text side or a decoder."""
    if "architecture" in raw:
        return bool(raw["architecture"] == ClipConfig.architecture)
    text = raw.get("text_cfg")
    has_text_model = isinstance(text, dict) and "hf_model_name" in text
    return not (raw.get("custom_text") or raw.get("multimodal_cfg") or has_text_model)
