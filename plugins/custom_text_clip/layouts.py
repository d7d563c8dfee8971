"""Layouts of other libraries, as rules that lead to CustomTextCLIP's own names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from registry_core import LazyTensor, Rule

if TYPE_CHECKING:
    from torch import Tensor

# big_vision's SigLIP, https://github.com/google-research/big_vision (Flax; kernels are [in, out]).

_BIG_VISION_BLOCK = "encoderblock"


def _affine(target: str, source: str) -> list[Rule]:
    """Return the rules for a norm."""
    return [Rule(f"{target}.weight", (f"{source}/scale",)), Rule(f"{target}.bias", (f"{source}/bias",))]


def _dense(target: str, source: str, how: str = "transpose") -> list[Rule]:
    """Return the rules for a linear layer."""
    return [Rule(f"{target}.weight", (f"{source}/kernel",), how), Rule(f"{target}.bias", (f"{source}/bias",))]


def _joined(weight: str, bias: str, source: str, parts: tuple[str, ...]) -> list[Rule]:
    """Return the rules for projections into heads, which our model joins into one."""
    return [
        Rule(weight, tuple(f"{source}/{part}/kernel" for part in parts), "into_heads"),
        Rule(bias, tuple(f"{source}/{part}/bias" for part in parts), "flat"),
    ]


_QKV = ("query", "key", "value")
_ATTENTION = "MultiHeadDotProductAttention_0"


def _image_rules() -> list[Rule]:
    trunk, img = "visual.trunk", "img"
    block, theirs = f"{trunk}.blocks.*", f"{img}/Transformer/{_BIG_VISION_BLOCK}_*"
    pool, head = f"{trunk}.attn_pool", f"{img}/MAPHead_0"
    return [
        Rule(f"{trunk}.patch_embed.proj.weight", (f"{img}/embedding/kernel",), "kernel"),
        Rule(f"{trunk}.patch_embed.proj.bias", (f"{img}/embedding/bias",)),
        Rule(f"{trunk}.pos_embed", (f"{img}/pos_embedding",)),
        *_affine(f"{block}.norm1", f"{theirs}/LayerNorm_0"),
        *_joined(f"{block}.attn.qkv.weight", f"{block}.attn.qkv.bias", f"{theirs}/{_ATTENTION}", _QKV),
        *_dense(f"{block}.attn.proj", f"{theirs}/{_ATTENTION}/out", "out_of_heads"),
        *_affine(f"{block}.norm2", f"{theirs}/LayerNorm_1"),
        *_dense(f"{block}.mlp.fc1", f"{theirs}/MlpBlock_0/Dense_0"),
        *_dense(f"{block}.mlp.fc2", f"{theirs}/MlpBlock_0/Dense_1"),
        *_affine(f"{trunk}.norm", f"{img}/Transformer/encoder_norm"),
        Rule(f"{pool}.latent", (f"{head}/probe",)),
        *_joined(f"{pool}.q.weight", f"{pool}.q.bias", f"{head}/{_ATTENTION}", ("query",)),
        *_joined(f"{pool}.kv.weight", f"{pool}.kv.bias", f"{head}/{_ATTENTION}", ("key", "value")),
        *_dense(f"{pool}.proj", f"{head}/{_ATTENTION}/out", "out_of_heads"),
        *_affine(f"{pool}.norm", f"{head}/LayerNorm_0"),
        *_dense(f"{pool}.mlp.fc1", f"{head}/MlpBlock_0/Dense_0"),
        *_dense(f"{pool}.mlp.fc2", f"{head}/MlpBlock_0/Dense_1"),
    ]


def _text_rules() -> list[Rule]:
    block, theirs = "text.transformer.resblocks.*", f"txt/Encoder_0/{_BIG_VISION_BLOCK}_*"
    attention = f"{theirs}/{_ATTENTION}"
    return [
        Rule("text.token_embedding.weight", ("txt/Embed_0/embedding",)),
        Rule("text.positional_embedding", ("txt/pos_embedding",), "first"),
        *_affine(f"{block}.ln_1", f"{theirs}/LayerNorm_0"),
        *_joined(f"{block}.attn.in_proj_weight", f"{block}.attn.in_proj_bias", attention, _QKV),
        *_dense(f"{block}.attn.out_proj", f"{attention}/out", "out_of_heads"),
        *_affine(f"{block}.ln_2", f"{theirs}/LayerNorm_1"),
        *_dense(f"{block}.mlp.c_fc", f"{theirs}/MlpBlock_0/Dense_0"),
        *_dense(f"{block}.mlp.c_proj", f"{theirs}/MlpBlock_0/Dense_1"),
        *_affine("text.ln_final", "txt/Encoder_0/encoder_norm"),
        *_dense("text.text_projection", "txt/head"),
    ]


BIG_VISION = (
    *_image_rules(),
    *_text_rules(),
    Rule("logit_scale", ("t",), "flat"),
    Rule("logit_bias", ("b",), "flat"),
)
_BIG_VISION_SIGN = "img/embedding/kernel"


def is_big_vision(state: Mapping[str, LazyTensor]) -> bool:
    """Whether a checkpoint is in big_vision's layout, with or without the optimiser's prefix."""
    return any(f"{prefix}{_BIG_VISION_SIGN}" in state for prefix in ("", "params/"))


def unstacked(state: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Return big_vision's names without the optimiser's prefix, and with one tensor for each layer of a scanned stack.

    Programs that scan over their layers save a parameter of all layers as one tensor. Its first dimension is the layer.
    """
    result: dict[str, LazyTensor] = {}
    for full_name, tensor in state.items():
        name = full_name.removeprefix("params/")
        before, stack, after = name.partition(f"/{_BIG_VISION_BLOCK}/")
        if not stack:
            result[name] = tensor
            continue
        for layer in range(tensor.shape[0]):
            one = tensor.map(partial(_layer, number=layer), tensor.shape[1:], "")
            result[f"{before}/{_BIG_VISION_BLOCK}_{layer}/{after}"] = one
    return result


def _layer(stacked: Tensor, number: int) -> Tensor:
    return stacked[number].clone()
