"""Published CLIP checkpoints under the names and shapes of the model."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import torch

from registry_core import CheckpointError, Conversion, LazyTensor, ModelConfig
from registry_core.towers.positions import resize_grid, resize_length

# OpenAI's archives carry three numbers beside the parameters.
ARCHIVE_NUMBERS = frozenset({"input_resolution", "context_length", "vocab_size"})

# A key that only another library's layout has -> what that layout is called.
FOREIGN_LAYOUTS = {
    "text_model.embeddings.token_embedding.weight": "transformers' CLIPModel",
    "vision_model.embeddings.class_embedding": "transformers' CLIPModel",
    "vision_model.embeddings.patch_embedding.weight": "transformers' CLIPVisionModel",
    "text.token_embedding.weight": "open_clip's CustomTextCLIP (separate text tower)",
    "visual.trunk.patch_embed.proj.weight": "open_clip with a timm image tower",
}

IMAGE_POSITIONS = ("visual.positional_embedding", "visual.attnpool.positional_embedding")
TEXT_POSITIONS = "positional_embedding"
SCALARS = ("logit_scale", "logit_bias")


def convert(config: ModelConfig, trained: ModelConfig, state: Mapping[str, LazyTensor]) -> Conversion:
    """A checkpoint for the model of `config`.

    Raises:
        CheckpointError: the layout is another library's, or position embeddings cannot be resized.
    """
    _refuse_foreign(state)
    result = {name: tensor for name, tensor in state.items() if name not in ARCHIVE_NUMBERS}
    for name in IMAGE_POSITIONS:
        if name in result:
            result[name] = resize_grid(result[name], trained.vision_cfg.grid_size, config.vision_cfg.grid_size)
    if TEXT_POSITIONS in result:
        result[TEXT_POSITIONS] = resize_length(result[TEXT_POSITIONS], config.text_cfg.context_length)
    shape = (1,) if config.nonscalar_logit_scale else ()
    for name in SCALARS:
        if name in result and result[name].shape != shape and prod(result[name].shape) == 1:
            result[name] = result[name].reshaped(shape, f"shape {list(result[name].shape)} -> {list(shape)}")
    if config.init_logit_bias is not None and "logit_bias" not in result:
        # Trained without a bias is trained with a bias of zero.
        result["logit_bias"] = LazyTensor(
            "float32", shape, lambda: torch.zeros(shape), note="not in the file, set to 0"
        )
    return Conversion(result, kind="CLIP")


def _refuse_foreign(state: Mapping[str, LazyTensor]) -> None:
    layout = next((layout for key, layout in FOREIGN_LAYOUTS.items() if key in state), None)
    if layout is not None:
        raise CheckpointError(
            f"The checkpoint is in the layout of {layout}, expected OpenAI's and open_clip's CLIP layout "
            "(visual.*, transformer.*, token_embedding.weight ...). Nothing was loaded. Load it with the library that "
            "wrote it, or convert its names."
        )
