"""Model configs: what a checkpoint's architecture is, as validated, immutable data.

The keys are those of the interchange JSON (`open_clip_config.json` on the hub), so that published configs load as they
are. A *raw* config is that JSON as a mapping; a config object is a validated view of it, and `raw()` leads back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, SerializeAsAny, ValidationError

from registry_core.errors import ConfigError
from registry_core.strict import Channels, Deviations, Pair, Positive, StrictModel, describe_problems
from registry_core.tower_configs import (
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
    """How a picture becomes the image tower's input.

    Attributes:
        size: height and width; None means the image tower's `image_size`.
        mean, std: per channel, of pixel values in [0, 1].
        resize_mode: `shortest` resizes the shorter side and crops the centre, `longest` resizes the longer side and
            pads, `squash` ignores the aspect ratio.
        fill_color: what `longest` pads with, 0 to 255.
    """

    size: Pair | None = None
    mode: Literal["RGB"] = "RGB"
    mean: Channels = OPENAI_MEAN
    std: Deviations = OPENAI_STD
    interpolation: Literal["bicubic", "bilinear", "random"] = "bicubic"
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"
    fill_color: int = Field(default=0, ge=0, le=255)


class ModelConfig(StrictModel):
    """Two towers that meet in one embedding space. Plugins subclass it and name their `architecture`."""

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
        """The config as interchange JSON, with the `architecture` that claims it back."""
        return {"architecture": self.architecture, **self.model_dump(mode="json")}

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the input picture, in pixels."""
        return as_pair(self.preprocess_cfg.size or self.vision_cfg.image_size)

    @classmethod
    def parse(cls, raw: RawConfig, origin: str) -> Self:
        """Validate a raw config; its `architecture` key is taken for granted.

        Args:
            raw: keys of the interchange JSON.
            origin: whose config it is, for messages: a model name or a file.

        Raises:
            ConfigError: an unknown key, a missing one or a value of the wrong type.
        """
        fields = {key: value for key, value in raw.items() if key != "architecture"}
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise ConfigError(describe_problems(error, cls, origin)) from error


def merged(base: RawConfig, over: RawConfig) -> dict[str, Any]:
    """`base` with the values of `over` laid over it, mapping by mapping."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
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
