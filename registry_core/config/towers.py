"""Configs of the towers: native, timm and transformers. The keys are those of the interchange JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, SerializeAsAny, Tag

from registry_core.config.base import Layers, Pair, Positive, StrictModel, TokenId, as_tuple

RESNET_STRIDE = 32  # total stride of a ModifiedResNet: input pixels for each cell of its last feature map


class NormOptions(StrictModel):
    """Keyword arguments of normalisation layers that a config may set."""

    eps: float = 1e-5


class ActivationOptions(StrictModel):
    """Keyword arguments of GELU that a config may set."""

    approximate: Literal["none", "tanh"] = "none"


class ImageTowerConfig(StrictModel):
    """Config keys of every image tower. The subclass determines the tower that towers/build.py builds."""

    image_size: Pair = 224
    patch_dropout: float = Field(default=0.0, ge=0, lt=1)

    @property
    def summary(self) -> str:
        """Short description of the tower."""
        return type(self).__name__


class VisionConfig(ImageTowerConfig):
    """Config of a native image tower: a VisionTransformer, or a ModifiedResNet if `layers` lists four stages."""

    layers: Layers | Annotated[tuple[Layers, Layers, Layers, Layers], BeforeValidator(as_tuple)] = 12
    width: Positive = 768
    head_width: Positive = 64
    mlp_ratio: float = Field(default=4.0, gt=0)
    patch_size: Pair | None = 16
    ls_init_value: float | None = None
    no_ln_pre: bool = False
    pos_embed_type: Literal["learnable", "sin_cos_2d"] = "learnable"
    final_ln_after_pool: bool = False
    pool_type: Literal["tok", "avg", "none"] = "tok"
    attentional_pool: bool | Literal["parallel", "cascade"] = False
    attn_pooler_queries: Positive = 256
    attn_pooler_heads: Positive = 8
    output_tokens: bool = False
    act_kwargs: ActivationOptions | None = None
    norm_kwargs: NormOptions | None = None

    @property
    def is_vit(self) -> bool:
        """Whether this is a VisionTransformer."""
        return isinstance(self.layers, int)

    @property
    def grid_size(self) -> tuple[int, int]:
        """Rows and columns of the feature grid in the last layer of the tower."""
        height, width = as_pair(self.image_size)
        down, right = as_pair(self.patch_size) if self.is_vit and self.patch_size else (RESNET_STRIDE, RESNET_STRIDE)
        return height // down, width // right

    @property
    def summary(self) -> str:
        """Short description of the tower."""
        kind = "VisionTransformer" if self.is_vit else "ModifiedResNet"
        return f"{kind}, layers {self.layers}, width {self.width}"


class TimmVisionConfig(ImageTowerConfig):
    """Config of an image tower from timm, and of the projection of its features into the joint embedding space.

    Attributes:
        timm_model_name: Name in the registry of timm.
        timm_model_pretrained: Accepted because published configs contain it. Weights are read from checkpoints only.
        timm_pool: Pooling of timm ("avg", "token", "map", "" for the model's default), or "abs_attn" / "rot_attn".
        timm_proj: "linear" or "mlp" after the trunk, "none" for no projection. None uses the trunk's classifier as the
            projection.
        timm_proj_bias: Whether the last layer of the projection has a bias.
        timm_drop: Dropout rate before the projection.
        timm_drop_path: Rate of stochastic depth in the trunk during training.
    """

    # timm takes a name with a colon for a repository of the hub or a folder, and asks it with the user's token.
    timm_model_name: str = Field(pattern=r"^[\w.-]+$", max_length=200)
    timm_model_pretrained: bool = False
    timm_pool: str = "avg"
    timm_proj: Literal["linear", "mlp", "none", ""] | None = "linear"
    timm_proj_bias: bool = False
    timm_drop: float = Field(default=0.0, ge=0, lt=1)
    timm_drop_path: float | None = None

    @property
    def summary(self) -> str:
        """Short description of the tower."""
        return f"timm's {self.timm_model_name}"


class TextTowerConfig(StrictModel):
    """Config keys of every text tower and of its tokenizer. The subclass determines the tower."""

    context_length: Positive = 77
    vocab_size: Positive = 49408
    hf_tokenizer_name: str | None = None
    tokenizer_mode: str | None = None
    tokenizer_kwargs: dict[str, Any] | None = None
    output_tokens: bool = False

    @property
    def summary(self) -> str:
        """Short description of the tower."""
        return f"{type(self).__name__}, context {self.context_length}"


class TextConfig(TextTowerConfig):
    """Config of a native text tower."""

    width: Positive = 512
    heads: Positive = 8
    layers: Layers = 12
    mlp_ratio: float = Field(default=4.0, gt=0)
    ls_init_value: float | None = None
    embed_cls: bool = False
    pad_id: TokenId = 0
    eos_id: TokenId = 2
    no_causal_mask: bool = False
    pool_type: Literal["first", "last", "argmax", "eos", "none"] = "argmax"
    proj_bias: bool = False
    proj_type: Literal["linear", "none"] = "linear"
    act_kwargs: ActivationOptions | None = None
    norm_kwargs: NormOptions | None = None

    @property
    def positions(self) -> int:
        """Number of position embeddings: the context length, plus one for a class token."""
        return self.context_length + self.embed_cls

    @property
    def summary(self) -> str:
        """Short description of the tower."""
        return f"TextTransformer, layers {self.layers}, width {self.width}, context {self.context_length}"


class HFTextConfig(TextTowerConfig):
    """Config of a text tower from transformers, and of the projection of its features into the joint embedding space.

    Attributes:
        hf_model_name: Name on the hub. The shapes of well-known models are known here; others need `hf_model_config`.
        hf_model_config: The shape, under the keys of transformers; towers/hf_text.py lists the keys that are used.
        hf_model_pretrained: Accepted because published configs contain it. Weights are read from checkpoints only.
        hf_pooler_type: Pooling of the token states; None means the usual pooling of the model type.
        hf_proj_type: Projection into the joint space, "linear" or "mlp". None means no projection; the widths must
            then agree.
        width: Accepted because published configs contain it. The width of the transformers model is used.
    """

    hf_model_name: str
    hf_model_config: dict[str, Any] | None = None
    hf_model_pretrained: bool = True
    hf_pooler_type: Literal["mean_pooler", "max_pooler", "cls_pooler", "cls_last_hidden_state_pooler"] | None = (
        "mean_pooler"
    )
    hf_proj_type: Literal["linear", "mlp"] | None = "mlp"
    width: Positive | None = None

    @property
    def summary(self) -> str:
        """Short description of the tower."""
        return f"transformers' {self.hf_model_name}, context {self.context_length}"


def _image_tower_kind(value: object) -> str:
    is_timm = "timm_model_name" in value if isinstance(value, Mapping) else isinstance(value, TimmVisionConfig)
    return "TimmVisionConfig" if is_timm else "VisionConfig"


def _text_tower_kind(value: object) -> str:
    is_hf = "hf_model_name" in value if isinstance(value, Mapping) else isinstance(value, HFTextConfig)
    return "HFTextConfig" if is_hf else "TextConfig"


# For configs that accept towers of either library: a key that only one of the two has determines the class.
AnyVisionConfig = Annotated[
    Annotated[SerializeAsAny[VisionConfig], Tag("VisionConfig")]
    | Annotated[SerializeAsAny[TimmVisionConfig], Tag("TimmVisionConfig")],
    Discriminator(_image_tower_kind),
]
AnyTextConfig = Annotated[
    Annotated[SerializeAsAny[TextConfig], Tag("TextConfig")]
    | Annotated[SerializeAsAny[HFTextConfig], Tag("HFTextConfig")],
    Discriminator(_text_tower_kind),
]


def as_pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of a size, which may be one number for both."""
    return (size, size) if isinstance(size, int) else size
