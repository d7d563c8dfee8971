"""Published CoCa checkpoints under the names and shapes of the model."""

from __future__ import annotations

from collections.abc import Mapping

from registry_core import Conversion, LazyTensor, ModelConfig
from registry_core.towers.fitting import fit_image_positions, fit_scalars, fit_text_positions

# Buffers that some libraries and older versions saved, and that are computed here.
COMPUTED = frozenset({
    "attn_mask",
    "text.attn_mask",
    "text_decoder.attn_mask",
    "text.transformer.embeddings.position_ids",
})  # fmt: skip


def convert(config: ModelConfig, trained: ModelConfig, state: Mapping[str, LazyTensor]) -> Conversion:
    """A checkpoint for the model of `config`.

    Raises:
        CheckpointError: position embeddings cannot be resized.
    """
    named = {name: tensor for name, tensor in state.items() if name not in COMPUTED}
    fitted = fit_image_positions(config.vision_cfg, trained.vision_cfg, named)
    fitted = fit_text_positions(config, fitted, prefix="text.")
    return Conversion(fit_scalars(config, fitted), kind="CoCa")
