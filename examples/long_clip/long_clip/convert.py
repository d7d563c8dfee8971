"""Conversion of checkpoints: a published Long-CLIP, or a plain CLIP whose text positions are stretched."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from registry_core import CheckpointError, Conversion, LazyTensor
from registry_core.towers import fit_image_positions, fit_scalars

from .config import KEPT, STRETCH, LongClipConfig, stretched

FIRST, REST = "positional_embedding", "positional_embedding_res"
# OpenAI's archives hold three numbers in addition to the parameters.
ARCHIVE_NUMBERS = frozenset({"input_resolution", "context_length", "vocab_size"})


def convert(config: LongClipConfig, trained: LongClipConfig, state: Mapping[str, LazyTensor]) -> Conversion:
    """Convert a checkpoint to the model's names.

    Raises:
        CheckpointError: The checkpoint has too few text positions.
    """
    own = {name: tensor for name, tensor in state.items() if name not in ARCHIVE_NUMBERS}
    own = fit_scalars(config, fit_image_positions(config.vision_cfg, trained.vision_cfg, own))
    kind = "Long-CLIP"
    if FIRST in own and REST not in own:
        kind = "plain CLIP, text positions stretched"
        own[FIRST] = own[REST] = _stretch(own[FIRST])
    for name in {FIRST, REST} & own.keys():
        own[name] = _cut(own[name], config.text_cfg.context_length)
    return Conversion(own, kind=kind)


def stretch(old: Tensor) -> Tensor:
    """Stretch positions [L, C] to [(L - 20) * 4 + 20, C]: keep the first 20, interpolate the rest in quarter steps.

    The last positions are extrapolated from the last two, as in the published code.
    """
    kept, rest = old[:KEPT], old[KEPT:].float()
    at = torch.arange(len(rest) * STRETCH) / STRETCH
    left = at.long().clamp(max=len(rest) - 2)
    moved = rest[left] + (at - left)[:, None] * (rest[left + 1] - rest[left])
    return torch.cat([kept, moved.to(old.dtype)])


def _stretch(lazy: LazyTensor) -> LazyTensor:
    length = lazy.shape[0]
    if length < KEPT + 2:
        raise CheckpointError(
            f"The checkpoint holds {length} text positions, expected more than {KEPT + 1}: Long-CLIP keeps the first "
            f"{KEPT} and stretches the rest. Nothing was loaded.",
            name=FIRST,
            expected=f"more than {KEPT + 1}",
            found=length,
            advice="Give a checkpoint with a longer context.",
        )
    return lazy.map(stretch, (stretched(length), *lazy.shape[1:]), f"stretched {length} -> {stretched(length)}")


def _cut(lazy: LazyTensor, length: int) -> LazyTensor:
    """Keep the first `length` positions. Stretching does not depend on the length, so they stay valid."""
    if lazy.shape[0] <= length:
        return lazy
    return lazy.map(lambda old: old[:length].clone(), (length, *lazy.shape[1:]), f"cut {lazy.shape[0]} -> {length}")
