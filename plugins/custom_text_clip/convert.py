"""Published CustomTextCLIP checkpoints under the names and shapes of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from registry_core import Conversion, LazyTensor, ModelConfig
from registry_core.checkpoint.layout import relayout
from registry_core.towers.fitting import (
    fit_image_positions,
    fit_scalars,
    fit_text_positions,
    has_plain_text_layers,
    text_layers_in_tower,
)

from .layouts import BIG_VISION, is_big_vision, unstacked
from .mobileclip import from_mobileclip, is_mobileclip

State = Mapping[str, LazyTensor]

# Buffers that older libraries saved and newer ones compute.
COMPUTED = frozenset({"text.transformer.embeddings.position_ids", "text.transformer.embed_positions.weights"})


def convert(config: ModelConfig, trained: ModelConfig, state: Mapping[str, LazyTensor]) -> Conversion:
    """A checkpoint for the model of `config`.

    Raises:
        CheckpointError: position embeddings cannot be resized.
    """
    kind, named = next((kind, own(state)) for recognised, own, kind in _LAYOUTS if recognised(state))
    named = {name: tensor for name, tensor in named.items() if name not in COMPUTED}
    fitted = fit_image_positions(config.vision_cfg, trained.vision_cfg, named)
    fitted = fit_text_positions(config, fitted, prefix="text.")
    return Conversion(fit_scalars(config, fitted), kind=kind)


# (does the state have this layout?, into our own names, what it is): the first that has it counts.
_LAYOUTS: tuple[tuple[Callable[[State], bool], Callable[[State], State], str], ...] = (
    (has_plain_text_layers, text_layers_in_tower, "CLIP, its text layers moved into a tower"),
    (is_mobileclip, from_mobileclip, "MobileCLIP, in its own layout"),
    (is_big_vision, lambda state: relayout(unstacked(state), BIG_VISION), "SigLIP, in the layout of big_vision"),
    (lambda state: True, lambda state: state, "CustomTextCLIP"),  # noqa: ARG005 - the one that is left
)
