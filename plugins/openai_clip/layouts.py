"""Layouts of other libraries, as rules that lead to CLIP's own names."""

from __future__ import annotations

from registry_core import Rule


def _blocks(theirs: str, ours: str) -> list[Rule]:
    """Return the rules for the residual blocks of a tower of transformers."""
    attention, block = f"{theirs}.*.self_attn", f"{ours}.*"
    joined = [
        Rule(f"{block}.attn.in_proj_{kind}", tuple(f"{attention}.{part}_proj.{kind}" for part in "qkv"))
        for kind in ("weight", "bias")
    ]
    renamed = {
        "self_attn.out_proj": "attn.out_proj",
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    }
    return joined + [
        Rule(f"{block}.{mine}.{kind}", (f"{theirs}.*.{other}.{kind}",))
        for other, mine in renamed.items()
        for kind in ("weight", "bias")
    ]


# transformers' CLIPModel, https://github.com/huggingface/transformers (models/clip).
TRANSFORMERS_CLIP = (
    Rule("token_embedding.weight", ("text_model.embeddings.token_embedding.weight",)),
    Rule("positional_embedding", ("text_model.embeddings.position_embedding.weight",)),
    *_blocks("text_model.encoder.layers", "transformer.resblocks"),
    Rule("ln_final.*", ("text_model.final_layer_norm.*",)),
    Rule("text_projection", ("text_projection.weight",), "transpose"),
    Rule("visual.class_embedding", ("vision_model.embeddings.class_embedding",)),
    Rule("visual.conv1.weight", ("vision_model.embeddings.patch_embedding.weight",)),
    Rule("visual.positional_embedding", ("vision_model.embeddings.position_embedding.weight",)),
    *_blocks("vision_model.encoder.layers", "visual.transformer.resblocks"),
    Rule("visual.ln_pre.*", ("vision_model.pre_layrnorm.*",)),
    Rule("visual.ln_post.*", ("vision_model.post_layernorm.*",)),
    Rule("visual.proj", ("visual_projection.weight",), "transpose"),
)
TRANSFORMERS_DROPPED = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")
# Names that a whole CLIPModel has. One of its towers alone lacks some of them.
TRANSFORMERS_SIGNS = frozenset(rule.sources[0] for rule in TRANSFORMERS_CLIP if "*" not in rule.sources[0])


def _timm_blocks() -> list[Rule]:
    """Return the rules for the residual blocks of timm's VisionTransformer."""
    ours, theirs = "visual.transformer.resblocks.*", "blocks.*"
    renamed = {
        "norm1": "ln_1",
        "attn.proj": "attn.out_proj",
        "norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
    }
    joined = [Rule(f"{ours}.attn.in_proj_{kind}", (f"{theirs}.attn.qkv.{kind}",)) for kind in ("weight", "bias")]
    return joined + [
        Rule(f"{ours}.{mine}.{kind}", (f"{theirs}.{other}.{kind}",))
        for other, mine in renamed.items()
        for kind in ("weight", "bias")
    ]


# timm's vit_*_clip_* models: CLIP's image tower alone, https://github.com/huggingface/pytorch-image-models.
TIMM_VIT = (
    Rule("visual.class_embedding", ("cls_token",), "flat"),
    Rule("visual.positional_embedding", ("pos_embed",), "first"),
    Rule("visual.conv1.weight", ("patch_embed.proj.weight",)),
    Rule("visual.ln_pre.*", ("norm_pre.*",)),
    *_timm_blocks(),
    Rule("visual.ln_post.*", ("norm.*",)),
    Rule("visual.proj", ("head.weight",), "transpose"),
)
TIMM_VIT_SIGNS = frozenset({"cls_token", "pos_embed", "patch_embed.proj.weight", "norm_pre.weight"})

# (names that identify the layout, rules, names to drop, description of the checkpoint)
LAYOUTS = (
    (TRANSFORMERS_SIGNS, TRANSFORMERS_CLIP, TRANSFORMERS_DROPPED, "CLIP, in the layout of transformers"),
    (TIMM_VIT_SIGNS, TIMM_VIT, (), "CLIP's image tower, in the layout of timm"),
)
