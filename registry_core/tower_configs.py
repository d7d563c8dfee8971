"""Configs of the towers: the native ones, timm's and transformers'. The keys are those of the interchange JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, SerializeAsAny, Tag

from registry_core.strict import Pair, Positive, StrictModel, as_tuple

RESNET_STRIDE = 32  # of a whole ModifiedResNet: input pixels to a cell of its last feature map


class NormOptions(StrictModel):
    """Keyword arguments of the normalisation layers that a config may set."""

    eps: float = 1e-5


class ActivationOptions(StrictModel):
    """Keyword arguments of GELU that a config may set."""

    approximate: Literal["none", "tanh"] = "none"


class ImageTowerConfig(StrictModel):
    """What every image tower has. Its subclass says which tower; towers/build.py makes it."""

    image_size: Pair = 224
    patch_dropout: float = Field(default=0.0, ge=0, lt=1)

    @property
    def summary(self) -> str:
        """The tower in a few words."""
        return type(self).__name__


class VisionConfig(ImageTowerConfig):
    """A native image tower: a VisionTransformer, or a ModifiedResNet where `layers` lists four stages."""

    layers: Positive | Annotated[tuple[Positive, Positive, Positive, Positive], BeforeValidator(as_tuple)] = 12
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
        """Rows and columns of what the tower's last layer sees."""
        height, width = as_pair(self.image_size)
        down, right = as_pair(self.patch_size) if self.is_vit and self.patch_size else (RESNET_STRIDE, RESNET_STRIDE)
        return height // down, width // right

    @property
    def summary(self) -> str:
        """The tower in a few words."""
        kind = "VisionTransformer" if self.is_vit else "ModifiedResNet"
        return f"{kind}, layers {self.layers}, width {self.width}"


class TimmVisionConfig(ImageTowerConfig):
    """An image tower of the timm library, and how its features get into the joint space.

    Attributes:
        timm_model_name: of timm's registry.
        timm_model_pretrained: accepted since published configs carry it; weights come from checkpoints alone.
        timm_pool: timm's own pooling ("avg", "token", "map", "" for the model's default), or "abs_attn" / "rot_attn".
        timm_proj: "linear" or "mlp" behind the trunk, "none" for no projection; None makes the trunk's classifier one.
        timm_proj_bias: whether the last layer of that projection has a bias.
        timm_drop: dropout before it.
        timm_drop_path: stochastic depth of the trunk in training.
    """

    timm_model_name: str
    timm_model_pretrained: bool = False
    timm_pool: str = "avg"
    timm_proj: Literal["linear", "mlp", "none", ""] | None = "linear"
    timm_proj_bias: bool = False
    timm_drop: float = Field(default=0.0, ge=0, lt=1)
    timm_drop_path: float | None = None

    @property
    def summary(self) -> str:
        """The tower in a few words."""
        return f"timm's {self.timm_model_name}"


class TextTowerConfig(StrictModel):
    """What every text tower has, and the tokenizer that feeds it. Its subclass says which tower."""

    context_length: Positive = 77
    vocab_size: Positive = 49408
    hf_tokenizer_name: str | None = None
    tokenizer_mode: str | None = None
    tokenizer_kwargs: dict[str, Any] | None = None
    output_tokens: bool = False

    @property
    def summary(self) -> str:
        """The tower in a few words."""
        return f"{type(self).__name__}, context {self.context_length}"


class TextConfig(TextTowerConfig):
    """A native text tower."""

    width: Positive = 512
    heads: Positive = 8
    layers: Positive = 12
    mlp_ratio: float = Field(default=4.0, gt=0)
    ls_init_value: float | None = None
    embed_cls: bool = False
    pad_id: int = 0
    eos_id: int = 2
    no_causal_mask: bool = False
    pool_type: Literal["first", "last", "argmax", "eos", "none"] = "argmax"
    proj_bias: bool = False
    proj_type: Literal["linear", "none"] = "linear"
    act_kwargs: ActivationOptions | None = None
    norm_kwargs: NormOptions | None = None

    @property
    def positions(self) -> int:
        """Places that the tower has embeddings for: the context's, and one for a class token."""
        return self.context_length + self.embed_cls

    @property
    def summary(self) -> str:
        """The tower in a few words."""
        return f"TextTransformer, layers {self.layers}, width {self.width}, context {self.context_length}"


class HFTextConfig(TextTowerConfig):
    """A text tower of the transformers library, and how its features get into the joint space.

    Attributes:
        hf_model_name: of the hub. The shape of the well-known ones is known here; others need `hf_model_config`.
        hf_model_config: the shape as transformers spells it; towers/hf_text.py lists the keys that count.
        hf_model_pretrained: accepted since published configs carry it; weights come from checkpoints alone.
        hf_pooler_type: how the tokens' states become one; None takes the usual one of the model type.
        hf_proj_type: "linear" or "mlp" into the joint space; None for none, where the widths agree.
        width: accepted since published configs carry it; the model's own counts.
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
        """The tower in a few words."""
        return f"transformers' {self.hf_model_name}, context {self.context_length}"


def _image_tower_kind(value: object) -> str:
    is_timm = "timm_model_name" in value if isinstance(value, Mapping) else isinstance(value, TimmVisionConfig)
    return "TimmVisionConfig" if is_timm else "VisionConfig"


def _text_tower_kind(value: object) -> str:
    is_hf = "hf_model_name" in value if isinstance(value, Mapping) else isinstance(value, HFTextConfig)
    return "HFTextConfig" if is_hf else "TextConfig"


# For configs that take towers of either library: which one is told by the key that only it has.
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
    """(height, width) of a size that may be one number for both."""
    return (size, size) if isinstance(size, int) else size
