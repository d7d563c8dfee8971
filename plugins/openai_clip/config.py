"""The config of CLIP with native towers, and the recognition of its raw configs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import SerializeAsAny

from registry_core import AnyVisionConfig, ModelConfig, RawConfig, TextConfig


class ClipConfig(ModelConfig):
    """A native text tower, and a native or timm image tower. `custom_text: true` is another architecture."""

    architecture: ClassVar[str] = "openai_clip"

    vision_cfg: AnyVisionConfig
    text_cfg: SerializeAsAny[TextConfig]
    custom_text: Literal[False] = False


def claims(raw: RawConfig) -> bool:
    """Whether a raw config is plain CLIP: by its `architecture`, or without a separate text tower and a decoder."""
    if "architecture" in raw:
        return bool(raw["architecture"] == ClipConfig.architecture)
    text = raw.get("text_cfg")
    has_text_model = isinstance(text, dict) and "hf_model_name" in text
    return not (raw.get("custom_text") or raw.get("multimodal_cfg") or has_text_model)
