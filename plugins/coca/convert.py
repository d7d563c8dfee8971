"""Conversion of published CoCa checkpoints to the parameter names and shapes of the model."""

from __future__ import annotations

from collections.abc import Mapping

from registry_core import Conversion, LazyTensor, ModelConfig
from registry_core.towers import (
    fit_image_positions,
    fit_scalars,
    fit_text_positions,
    has_plain_text_layers,
    text_layers_in_tower,
)

# Buffers that some libraries and older versions saved. The model computes them.
COMPUTED = frozenset({
    "attn_mask",
    "text.attn_mask",
    "text_decoder.attn_mask",
    "text.transformer.embeddings.position_ids",
})  # fmt: skip


def convert(config: ModelConfig, trained: ModelConfig, state: Mapping[str, LazyTensor]) -> Conversion:
    """Convert a checkpoint for the model of `config`.

    Args:
        config: Config of the model.
        trained: The config that the tensors were shaped for.
        state: The checkpoint.

    Raises:
        CheckpointError: Position embeddings cannot be resized.
    """
    kind = "CoCa"
    if has_plain_text_layers(state):  # a plain CLIP has no decoder: for strict=False, or for one tower
        state, kind = text_layers_in_tower(state), "CLIP, its text layers moved into a tower"
    named = {name: tensor for name, tensor in state.items() if name not in COMPUTED}
    fitted = fit_image_positions(config.vision_cfg, trained.vision_cfg, named)
    fitted = fit_text_positions(config, fitted, prefix="text.")
    return Conversion(fit_scalars(config, fitted), kind=kind)
