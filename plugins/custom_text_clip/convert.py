"""Published CustomTextCLIP checkpoints under the names and shapes of the model."""

from __future__ import annotations

from collections.abc import Mapping

from registry_core import Conversion, LazyTensor, ModelConfig
from registry_core.towers.fitting import fit_image_positions, fit_scalars, fit_text_positions

# Parts of the text tower that plain CLIP checkpoints keep at their top level.
TEXT_PARTS = frozenset({"text_projection", "positional_embedding", "token_embedding", "transformer", "ln_final"})

# Buffers that older libraries saved and newer ones compute.
COMPUTED = frozenset({"text.transformer.embeddings.position_ids", "text.transformer.embed_positions.weights"})


def convert(config: ModelConfig, trained: ModelConfig, state: Mapping[str, LazyTensor]) -> Conversion:
    """A checkpoint for the model of `config`.

    Raises:
        CheckpointError: position embeddings cannot be resized.
    """
    old = "token_embedding.weight" in state
    named = {_with_tower(name) if old else name: tensor for name, tensor in state.items() if name not in COMPUTED}
    fitted = fit_image_positions(config.vision_cfg, trained.vision_cfg, named)
    fitted = fit_text_positions(config, fitted, prefix="text.")
    kind = "CLIP, its text layers moved into a tower" if old else "CustomTextCLIP"
    return Conversion(fit_scalars(config, fitted), kind=kind)


def _with_tower(name: str) -> str:
    return f"text.{name}" if name.partition(".")[0] in TEXT_PARTS else name
