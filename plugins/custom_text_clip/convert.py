"""Conversion of published CustomTextCLIP checkpoints to the parameter names and shapes of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from registry_core import Conversion, LazyTensor, ModelConfig, relayout
from registry_core.towers import (
    fit_image_positions,
    fit_scalars,
    fit_text_positions,
    has_plain_text_layers,
    text_layers_in_tower,
)

from .layouts import BIG_VISION, is_big_vision, unstacked
from .mobileclip import from_mobileclip, is_mobileclip

State = Mapping[str, LazyTensor]

# Buffers that older versions of the libraries saved, and newer versions compute.
COMPUTED = frozenset({"text.transformer.embeddings.position_ids", "text.transformer.embed_positions.weights"})


def convert(config: ModelConfig, trained: ModelConfig, state: Mapping[str, LazyTensor]) -> Conversion:
    """Convert a checkpoint for the model of `config`.

    Args:
        config: Config of the model.
        trained: The config that the tensors were shaped for.
        state: The checkpoint.

    Raises:
        CheckpointError: Position embeddings cannot be resized.
    """
    kind, named = next((kind, rename(state)) for recognises, rename, kind in _LAYOUTS if recognises(state))
    named = {name: tensor for name, tensor in named.items() if name not in COMPUTED}
    fitted = fit_image_positions(config.vision_cfg, trained.vision_cfg, named)
    fitted = fit_text_positions(config, fitted, prefix="text.")
    return Conversion(fit_scalars(config, fitted), kind=kind)


# (test of a checkpoint for the layout, renaming, description of the checkpoint). The first layout that fits counts.
_LAYOUTS: tuple[tuple[Callable[[State], bool], Callable[[State], State], str], ...] = (
    (has_plain_text_layers, text_layers_in_tower, "CLIP, its text layers moved into a tower"),
    (is_mobileclip, from_mobileclip, "MobileCLIP, in its own layout"),
    (is_big_vision, lambda state: relayout(unstacked(state), BIG_VISION), "SigLIP, in the layout of big_vision"),
    (lambda state: True, lambda state: state, "CustomTextCLIP"),  # noqa: ARG005 - anything else has our own names
)
