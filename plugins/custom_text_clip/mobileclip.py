"""MobileCLIP's published layout (Vasu et al. 2023, https://arxiv.org/abs/2311.17049; https://github.com/apple/ml-mobileclip).

Its names differ from timm's in parts that occur in many names. The tables therefore hold parts of names.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from math import prod

from registry_core import LazyTensor

IMAGE, TEXT = "image_encoder.model.", "text_encoder."

# Pairs (pattern, our part), applied in this order to the name after the encoder's prefix.
Parts = tuple[tuple[str, str], ...]

_BLOCK: Parts = (
    (r"pre_norm_mha\.0", "{norm}1"),
    (r"pre_norm_mha\.1", "attn"),
    (r"pre_norm_ffn\.0", "{norm}2"),
)
TEXT_PARTS: Parts = (
    (r"^projection_layer", "text_projection"),
    (r"^embedding_layer", "token_embedding"),
    (r"^positional_embedding\.pos_embed\.pos_embed$", "positional_embedding"),
    (r"^final_layer_norm", "ln_final"),
    *((theirs, ours.format(norm="ln_")) for theirs, ours in _BLOCK),
    (r"pre_norm_ffn\.1", "mlp.c_fc"),
    (r"pre_norm_ffn\.4", "mlp.c_proj"),
    (r"qkv_proj\.(weight|bias)", r"in_proj_\1"),
    (r"^transformer\.", "transformer.resblocks."),
)
VIT_PARTS: Parts = (
    (r"^patch_emb\.", "patch_embed.backbone."),
    (r"block\.conv", "conv"),
    (r"block\.norm", "bn"),
    (r"^post_transformer_norm\.", "norm."),
    *((theirs, ours.format(norm="norm")) for theirs, ours in _BLOCK),
    (r"pre_norm_ffn\.1", "mlp.fc1"),
    (r"pre_norm_ffn\.4", "mlp.fc2"),
    (r"qkv_proj\.", "qkv."),
    (r"out_proj\.", "proj."),
    (r"^transformer\.", "blocks."),
    (r"^pos_embed\.pos_embed\.pos_embed$", "pos_embed"),
    (r"^classifier\.proj$", "head.weight"),
)
FASTVIT_PARTS: Parts = (
    (r"patch_embed", "stem"),
    (r"rbr_conv", "conv_kxk"),
    (r"rbr_scale", "conv_scale"),
    (r"rbr_skip", "identity"),
    (r"conv_exp", "final_conv"),
    (r"lkb_origin", "large_conv"),
    (r"convffn", "mlp"),
    (r"se\.reduce", "se.fc1"),
    (r"se\.expand", "se.fc2"),
    (r"layer_scale_(\d)", r"layer_scale_\1.gamma"),
    (r"layer_scale$", "layer_scale.gamma"),
    (r"^head\.proj$", "head.fc.weight"),
)

# A name that identifies a kind of image encoder -> the parts of the names of that kind.
KINDS: dict[str, Parts] = {
    "image_encoder.model.patch_embed.0.rbr_conv.0.conv.weight": FASTVIT_PARTS,
    "image_encoder.model.patch_emb.0.block.conv.weight": VIT_PARTS,
}
_PROJECTIONS = frozenset({"head.weight", "head.fc.weight"})


def is_mobileclip(state: Mapping[str, LazyTensor]) -> bool:
    """Whether a checkpoint is in MobileCLIP's own layout."""
    return any(name in state for name in KINDS)


def from_mobileclip(state: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    """Return the checkpoint under CustomTextCLIP's names, with a timm trunk."""
    parts = next(parts for name, parts in KINDS.items() if name in state)
    ends = sorted(
        {int(found[1]) for found in map(re.compile(rf"{IMAGE}network\.(\d+)\.proj\..*").match, state) if found}
    )
    result: dict[str, LazyTensor] = {}
    for name, tensor in state.items():
        if name.startswith(IMAGE):
            own = _stage(_renamed(name.removeprefix(IMAGE), parts), ends)
            result.update(
                _projection(own, tensor) if own in _PROJECTIONS else {f"visual.trunk.{own}": _shaped(own, tensor)}
            )
        elif name.startswith(TEXT):
            own = _renamed(name.removeprefix(TEXT), TEXT_PARTS)
            result[f"text.{own}"] = _shaped(own, tensor)
        else:
            result[name] = tensor
    return result


def _renamed(name: str, parts: Parts) -> str:
    for theirs, ours in parts:
        name = re.sub(theirs, ours, name)
    return name


def _stage(name: str, ends: list[int]) -> str:
    """Rename FastViT's flat `network.<n>` to timm's stages. Each stage ends with a layer that downsamples."""
    match = re.match(r"network\.(\d+)\.(.*)", name)
    if match is None:
        return name
    number, rest = int(match[1]), match[2]
    stage = f"stages.{bisect_right(ends, number)}"
    first, _, after = rest.partition(".")
    if first == "proj":
        return f"{stage}.downsample.proj.{after}"
    if first == "pe":
        return f"{stage}.pos_emb.pos_enc.{after}"
    return f"{stage}.blocks.{rest}"


def _shaped(name: str, tensor: LazyTensor) -> LazyTensor:
    """Remove the leading dimensions of size 1 from position embeddings."""
    if name == "positional_embedding" and len(tensor.shape) > 2:  # noqa: PLR2004 - [L, C] here
        return tensor.reshaped(tensor.shape[-2:], tensor.note)
    if name == "pos_embed" and len(tensor.shape) > 3:  # noqa: PLR2004 - [1, L, C] in timm
        return tensor.reshaped((prod(tensor.shape[:-2]), *tensor.shape[-2:]), tensor.note)
    return tensor


def _projection(name: str, tensor: LazyTensor) -> dict[str, LazyTensor]:
    """Return the projection as timm's classifier: transposed, with a bias of zeros. The published model has no bias."""
    shape = tensor.shape[::-1]
    bias = LazyTensor.zeros(shape[:1], tensor.dtype)
    weight = tensor.map(lambda own: own.T.contiguous(), shape, "")
    full_name = f"visual.trunk.{name}"
    return {full_name: weight, f"{full_name.removesuffix('weight')}bias": bias}
