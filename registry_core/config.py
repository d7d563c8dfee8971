"""Model configs: what a checkpoint's architecture is, as validated, immutable data.

The keys are those of the interchange JSON (`open_clip_config.json` on the hub), so that published configs load as they
are. A *raw* config is that JSON as a mapping; a config object is a validated view of it, and `raw()` leads back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, ValidationError

from registry_core.errors import ConfigError, did_you_mean, listing

RawConfig = Mapping[str, Any]

RESNET_STRIDE = 32  # of a whole ModifiedResNet: input pixels to a cell of its last feature map
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


_Positive = Annotated[int, Field(gt=0)]
_Pair = Annotated[_Positive | tuple[_Positive, _Positive], BeforeValidator(_as_tuple)]
_Channels = Annotated[tuple[float, float, float], BeforeValidator(_as_tuple)]


class StrictModel(BaseModel):
    """Immutable, refuses unknown keys, and converts nothing in silence (JSON's lists become tuples)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


class NormOptions(StrictModel):
    """Keyword arguments of the normalisation layers that a config may set."""

    eps: float = 1e-5


class ActivationOptions(StrictModel):
    """Keyword arguments of GELU that a config may set."""

    approximate: Literal["none", "tanh"] = "none"


class VisionConfig(StrictModel):
    """A native image tower: a VisionTransformer, or a ModifiedResNet where `layers` lists four stages."""

    layers: _Positive | Annotated[tuple[_Positive, _Positive, _Positive, _Positive], BeforeValidator(_as_tuple)] = 12
    width: _Positive = 768
    head_width: _Positive = 64
    mlp_ratio: float = Field(default=4.0, gt=0)
    patch_size: _Pair | None = 16
    image_size: _Pair = 224
    ls_init_value: float | None = None
    patch_dropout: float = Field(default=0.0, ge=0, lt=1)
    no_ln_pre: bool = False
    pos_embed_type: Literal["learnable", "sin_cos_2d"] = "learnable"
    final_ln_after_pool: bool = False
    pool_type: Literal["tok", "avg", "none"] = "tok"
    output_tokens: bool = False
    act_kwargs: ActivationOptions | None = None
    norm_kwargs: NormOptions | None = None

    @property
    def is_vit(self) -> bool:
        """Whether this is a VisionTransformer."""
        return isinstance(self.layers, int)

    @property
    def grid_size(self) -> tuple[int, int]:
        """Rows and columns of what the tower's last layer sees."""
        height, width = as_pair(self.image_size)
        down, right = as_pair(self.patch_size) if self.is_vit and self.patch_size else (RESNET_STRIDE, RESNET_STRIDE)
        return height // down, width // right


class TextConfig(StrictModel):
    """A native text tower, and the tokenizer that feeds it."""

    context_length: _Positive = 77
    vocab_size: _Positive = 49408
    hf_tokenizer_name: str | None = None
    tokenizer_mode: str | None = None
    tokenizer_kwargs: dict[str, Any] | None = None
    width: _Positive = 512
    heads: _Positive = 8
    layers: _Positive = 12
    mlp_ratio: float = Field(default=4.0, gt=0)
    ls_init_value: float | None = None
    pad_id: int = 0
    eos_id: int = 2
    no_causal_mask: bool = False
    pool_type: Literal["first", "last", "argmax", "eos", "none"] = "argmax"
    proj_bias: bool = False
    proj_type: Literal["linear", "none"] = "linear"
    output_tokens: bool = False
    act_kwargs: ActivationOptions | None = None
    norm_kwargs: NormOptions | None = None


class PreprocessConfig(StrictModel):
    """How a picture becomes the image tower's input.

    Attributes:
        size: height and width; None means the image tower's `image_size`.
        mean, std: per channel, of pixel values in [0, 1].
        resize_mode: `shortest` resizes the shorter side and crops the centre, `longest` resizes the longer side and
            pads, `squash` ignores the aspect ratio.
        fill_color: what `longest` pads with, 0 to 255.
    """

    size: _Pair | None = None
    mode: Literal["RGB"] = "RGB"
    mean: _Channels = OPENAI_MEAN
    std: _Channels = OPENAI_STD
    interpolation: Literal["bicubic", "bilinear", "random"] = "bicubic"
    resize_mode: Literal["shortest", "longest", "squash"] = "shortest"
    fill_color: int = Field(default=0, ge=0, le=255)


class ModelConfig(StrictModel):
    """Two towers that meet in one embedding space. Plugins subclass it and name their `architecture`."""

    architecture: ClassVar[str] = ""

    embed_dim: _Positive
    vision_cfg: SerializeAsAny[VisionConfig]
    text_cfg: SerializeAsAny[TextConfig]
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
            raise ConfigError(_describe(error, cls, origin)) from error


def as_pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a size that may be one number for both."""
    return (size, size) if isinstance(size, int) else size


def merged(base: RawConfig, over: RawConfig) -> dict[str, Any]:
    """`base` with the values of `over` laid over it, mapping by mapping."""
    result = dict(base)
    for key, value in over.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return result


def _describe(error: ValidationError, model: type[StrictModel], origin: str) -> str:
    """One line a key: where, what was expected, what was found, what was meant."""
    problems: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        path, known = _locate(model, item["loc"])
        where = ".".join(path) or "(top level)"
        match item["type"]:
            case "extra_forbidden":
                key = str(item["loc"][-1])
                where = ".".join([*path, key])
                text = f"unknown key.{did_you_mean(key, known) or f' Known keys: {listing(sorted(known), 40)}.'}"
            case "missing":
                text = "missing."
            case _:
                text = f"{item['msg']}, got {item['input']!r}."
        problems.setdefault(where, []).append(text)
    # A key of a union type has a complaint from each branch: one line all the same.
    lines = "\n".join(f"  {where}: {' Or: '.join(dict.fromkeys(texts))}" for where, texts in problems.items())
    return f"The config of {origin} does not validate:\n{lines}\nNothing was built. Correct the keys named above."


def _locate(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[list[str], list[str]]:
    """The config keys in a pydantic location, and the keys known where it ends.

    Locations also name the branches of unions, which no reader of a config has written.
    """
    path: list[str] = []
    known = list(model.model_fields)
    for part in map(str, location):
        if part in known:
            path.append(part)
            nested = [t for t in _classes(model.model_fields[part].annotation) if issubclass(t, BaseModel)]
            if not nested:
                break
            model, known = nested[0], list(nested[0].model_fields)
    return path, known


def _classes(annotation: Any) -> list[type]:
    """The classes inside an annotation such as `X | None`."""
    if isinstance(annotation, type):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _classes(part)]
