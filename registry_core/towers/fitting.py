"""Checkpoint tensors in the shapes of a config: position embeddings for another image or context, scalars.

The conversions of plugins call these functions. Tensors are lazy; nothing is read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch
from math import isqrt, prod

from registry_core.checkpoint.index import LazyTensor
from registry_core.config.model import (
    ImageTowerConfig,
    ModelConfig,
    TextConfig,
    TimmVisionConfig,
    VisionConfig,
    as_pair,
)
from registry_core.towers.positions import resize_grid, resize_length

State = dict[str, LazyTensor]

_NATIVE_POSITIONS = ("positional_embedding", "attnpool.positional_embedding")
_TIMM_POSITIONS = "trunk.pos_embed"
_SCALARS = ("logit_scale", "logit_bias")
# Parts of the text tower that plain CLIP checkpoints keep at their top level.
_TEXT_PARTS = frozenset({"text_projection", "positional_embedding", "token_embedding", "transformer", "ln_final"})


@singledispatch
def fit_image_positions(
    config: ImageTowerConfig, trained: ImageTowerConfig, state: Mapping[str, LazyTensor], prefix: str = "visual."
) -> State:
    """Return the state with the position embeddings of the image tower resized to the config's image.

    Args:
        config: Config of the model's tower. Its type selects the implementation. Other types keep their embeddings.
        trained: Config of the tower that the tensors belong to.
        state: The checkpoint.
        prefix: Prefix of the tower's parameter names.

    Raises:
        CheckpointError: The number of embeddings does not determine their grid.
    """
    del config, trained, prefix
    return dict(state)


@fit_image_positions.register
def _native(
    config: VisionConfig, trained: VisionConfig, state: Mapping[str, LazyTensor], prefix: str = "visual."
) -> State:
    fitted = dict(state)
    for name in (prefix + position for position in _NATIVE_POSITIONS):
        if name in fitted:
            fitted[name] = resize_grid(fitted[name], trained.grid_size, config.grid_size)
    return fitted


@fit_image_positions.register
def _timm(
    config: TimmVisionConfig, trained: TimmVisionConfig, state: Mapping[str, LazyTensor], prefix: str = "visual."
) -> State:
    fitted, name = dict(state), prefix + _TIMM_POSITIONS
    before, after = as_pair(trained.image_size), as_pair(config.image_size)
    if name not in fitted or before == after or before[0] != before[1]:
        return fitted
    lazy = fitted[name]  # [1, class tokens + rows * columns, C]
    tokens = lazy.shape[1]
    side = isqrt(tokens)
    class_tokens = tokens - side**2
    wanted = (side * after[0] // before[0], side * after[1] // before[1])
    table = lazy.reshaped(lazy.shape[1:], lazy.note)
    fitted[name] = resize_grid(table, (side, side), wanted, prefix=class_tokens).map(
        lambda resized: resized[None], (1, class_tokens + prod(wanted), lazy.shape[2]), ""
    )
    return fitted


def fit_text_positions(config: ModelConfig, state: Mapping[str, LazyTensor], prefix: str = "") -> State:
    """Return the state with the position embeddings of a native text tower resized to the config's context length."""
    fitted, name = dict(state), f"{prefix}positional_embedding"
    if name in fitted and isinstance(config.text_cfg, TextConfig):
        fitted[name] = resize_length(fitted[name], config.text_cfg.positions)
    return fitted


def has_plain_text_layers(state: Mapping[str, LazyTensor]) -> bool:
    """Whether a checkpoint keeps its text layers at the top level, as plain CLIP does."""
    return "token_embedding.weight" in state


def text_layers_in_tower(state: Mapping[str, LazyTensor]) -> State:
    """Return a plain CLIP state with the text layers renamed as parts of a tower `text`."""
    return {f"text.{name}" if name.partition(".")[0] in _TEXT_PARTS else name: t for name, t in state.items()}


def fit_scalars(config: ModelConfig, state: Mapping[str, LazyTensor]) -> State:
    """Return the state with logit scale and bias in the config's shape: scalars, or vectors with one element."""
    fitted = dict(state)
    shape = (1,) if config.nonscalar_logit_scale else ()
    for name in _SCALARS:
        found = fitted[name].shape if name in fitted else shape
        if found != shape and prod(found) == 1:
            fitted[name] = fitted[name].reshaped(shape, f"shape {list(found)} -> {list(shape)}")
    if config.init_logit_bias is not None and "logit_bias" not in fitted and "logit_scale" in fitted:
        # A model that was trained without a bias has a bias of zero. A file without a scale tells nothing about it.
        fitted["logit_bias"] = LazyTensor.zeros(shape)
    return fitted
