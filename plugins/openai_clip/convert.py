"""Conversion of published CLIP checkpoints to the parameter names and shapes of the model."""

from __future__ import annotations

from collections.abc import Mapping

from registry_core import CheckpointError, Conversion, LazyTensor, ModelConfig, relayout
from registry_core.towers import fit_image_positions, fit_scalars, fit_text_positions

from .layouts import LAYOUTS

# OpenAI's archives hold three numbers in addition to the parameters.
ARCHIVE_NUMBERS = frozenset({"input_resolution", "context_length", "vocab_size"})

# A name that only another layout has -> that layout, for the message. A whole CLIPModel is converted instead.
FOREIGN_LAYOUTS = {
    "text_model.embeddings.token_embedding.weight": "a part of transformers' CLIPModel, or a relative of it",
    "vision_model.embeddings.class_embedding": "a part of transformers' CLIPModel, or a relative of it",
    "vision_model.embeddings.patch_embedding.weight": "a vision model of transformers",
    "text.token_embedding.weight": "open_clip's CustomTextCLIP (separate text tower)",
}


def convert(config: ModelConfig, trained: ModelConfig, state: Mapping[str, LazyTensor]) -> Conversion:
    """Convert a checkpoint for the model of `config`.

    Args:
        config: Config of the model.
        trained: The config that the tensors were shaped for.
        state: The checkpoint.

    Raises:
        CheckpointError: The layout is another library's, or position embeddings cannot be resized.
    """
    kind = "CLIP"
    for signs, rules, dropped, name in LAYOUTS:
        if state.keys() >= signs:
            state, kind = relayout(state, rules, dropped), name
    _refuse_foreign(state)
    own = {name: tensor for name, tensor in state.items() if name not in ARCHIVE_NUMBERS}
    fitted = fit_image_positions(config.vision_cfg, trained.vision_cfg, own)
    fitted = fit_text_positions(config, fitted)
    return Conversion(fit_scalars(config, fitted), kind=kind)


def _refuse_foreign(state: Mapping[str, LazyTensor]) -> None:
    key, layout = next(((key, layout) for key, layout in FOREIGN_LAYOUTS.items() if key in state), (None, ""))
    if key is not None:
        raise CheckpointError(
            f"The checkpoint is in the layout of {layout}, expected OpenAI's and open_clip's CLIP layout "
            "(visual.*, transformer.*, token_embedding.weight ...). Nothing was loaded.",
            name=key,
            expected="OpenAI's and open_clip's CLIP layout",
            found=layout,
            advice="Load it with the library that wrote it, or convert its names.",
        )
