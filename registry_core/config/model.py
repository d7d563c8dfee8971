"""Model configs: the architecture of a checkpoint as validated, immutable data.

The keys are those of the interchange JSON (`open_clip_config.json` on the hub), so published configs load unchanged.
A *raw* config is that JSON as a mapping. A config object is its validated form, and `raw()` returns the mapping again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, SerializeAsAny, ValidationError

from registry_core.config.base import Channels, Deviations, Pair, Positive, StrictModel, config_error
from registry_core.config.towers import (
    RESNET_STRIDE,
    ActivationOptions,
    AnyTextConfig,
    AnyVisionConfig,
    HFTextConfig,
    ImageTowerConfig,
    NormOptions,
    TextConfig,
    TextTowerConfig,
    TimmVisionConfig,
    VisionConfig,
    as_pair,
)

RawConfig = Mapping[str, Any]

TOWERS = ("image", "text")

OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


class PreprocessConfig(StrictModel):
    """Preprocessing of an image for the image tower.

    Attributes:
        size: Height and width in pixels; None means the image tower's `image_size`.
        mean, std: Mean and standard deviation of each channel, for pixel values in [0, 1].
        resize_mode: `shortest` resizes the shorter side and crops the centre, `longest` resizes the longer side and
            pads, `squash` ignores the aspect ratio.
        fill_color: Value of the pixels that `longest` pads with, 0 to 255.
    """

    size: Pair | None = None
    mode: Literal["RGB"] = "RGB"
    mean: Channels = OPENAI_MEAN
    std: Deviations = OPENAI_STD
    interpolation: Literal["bicubic", "bilinear", "random"] = "bicubic"
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"
    fill_color: int = Field(default=0, ge=0, le=255)


class ModelConfig(StrictModel):
    """Config of a model with two towers and one embedding space. Plugins subclass it and set `architecture`."""

    architecture: ClassVar[str] = ""

    embed_dim: Positive
    vision_cfg: SerializeAsAny[ImageTowerConfig]
    text_cfg: SerializeAsAny[TextTowerConfig]
    quick_gelu: bool = False
    init_logit_scale: float = math.log(1 / 0.07)
    init_logit_bias: float | None = None
    nonscalar_logit_scale: bool = False
    preprocess_cfg: PreprocessConfig = PreprocessConfig()

    def raw(self) -> dict[str, Any]:
        """Return the config as interchange JSON. Its `architecture` key tells which plugin owns it."""
        return {"architecture": self.architecture, **self.model_dump(mode="json")}

    def to_dict(self) -> dict[str, Any]:
        """Return the same as `raw`, under the name that libraries of adapters (peft) ask a model's config for."""
        return self.raw()

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the input image, in pixels."""
        return as_pair(self.preprocess_cfg.size or self.vision_cfg.image_size)

    @classmethod
    def parse(cls, raw: RawConfig, origin: str) -> Self:
        """Validate a raw config. The value of its `architecture` key is not checked.

        Args:
            raw: The config, with the keys of the interchange JSON.
            origin: Where the config is from, for messages: a model name or a file.

        Raises:
            ConfigError: A key is unknown or missing, or a value has the wrong type.
        """
        fields = {key: value for key, value in raw.items() if key != "architecture"}
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise config_error(error, cls, origin) from error


def merged(base: RawConfig, over: RawConfig) -> dict[str, Any]:
    """Return `base` updated with the values of `over`. Nested mappings are merged too; the arguments stay unchanged."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(value, Mapping) and isinstance(old, Mapping) else value
    return result


__all__ = [
    "OPENAI_MEAN",
    "OPENAI_STD",
    "RESNET_STRIDE",
    "TOWERS",
    "ActivationOptions",
    "AnyTextConfig",
    "AnyVisionConfig",
    "HFTextConfig",
    "ImageTowerConfig",
    "ModelConfig",
    "NormOptions",
    "PreprocessConfig",
    "RawConfig",
    "StrictModel",
    "TextConfig",
    "TextTowerConfig",
    "TimmVisionConfig",
    "VisionConfig",
    "as_pair",
    "merged",
]
