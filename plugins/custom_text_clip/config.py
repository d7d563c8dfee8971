"""The config of CustomTextCLIP, and the recognition of its raw configs."""

from __future__ import annotations

from typing import ClassVar, Literal

from registry_core import AnyTextConfig, AnyVisionConfig, ModelConfig, RawConfig


class CustomTextClipConfig(ModelConfig):
    """Both towers are native or from a library."""

    architecture: ClassVar[str] = "custom_text_clip"

    vision_cfg: AnyVisionConfig
    text_cfg: AnyTextConfig
    custom_text: Literal[True] = True


def claims(raw: RawConfig) -> bool:
    """Whether a raw config is a CustomTextCLIP: by its `architecture`, or by a separate text tower and no decoder."""
    if "architecture" in raw:
        return bool(raw["architecture"] == CustomTextClipConfig.architecture)
    text = raw.get("text_cfg")
    has_text_model = isinstance(text, dict) and "hf_model_name" in text
    return bool(raw.get("custom_text") or has_text_model) and not raw.get("multimodal_cfg")
