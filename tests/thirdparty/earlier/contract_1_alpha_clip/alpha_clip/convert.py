"""Checkpoints for an Alpha-CLIP: a whole one, the published image tower alone, or a plain CLIP."""

from __future__ import annotations

from collections.abc import Mapping

from registry_core import Conversion, LazyTensor
from registry_core.towers.fitting import fit_image_positions, fit_scalars, fit_text_positions

from .config import AlphaClipConfig

ALPHA = "visual.conv1_alpha.weight"
SCALE = "logit_scale"
# OpenAI's archives carry three numbers beside the parameters.
ARCHIVE_NUMBERS = frozenset({"input_resolution", "context_length", "vocab_size"})
# The published image tower keeps the projection of its attention in a Linear.
RENAMED = {"in_proj.weight": "in_proj_weight", "in_proj.bias": "in_proj_bias"}


def convert(config: AlphaClipConfig, trained: AlphaClipConfig, state: Mapping[str, LazyTensor]) -> Conversion:
    """A checkpoint under the model's names. What it cannot hold, the model's owner writes."""
    alone = "conv1.weight" in state
    prefix = "visual." if alone else ""
    own = {_renamed(prefix + name): lazy for name, lazy in state.items() if name not in ARCHIVE_NUMBERS}
    own = fit_image_positions(config.vision_cfg, trained.vision_cfg, own)
    own = fit_scalars(config, fit_text_positions(config, own))
    left = tuple(name for name in ([ALPHA, SCALE] if alone else [ALPHA]) if name not in own)
    kind = "plain CLIP" if ALPHA in left else "image tower of an Alpha-CLIP" if alone else "Alpha-CLIP"
    return Conversion(own, left, kind)


def _renamed(name: str) -> str:
    for old, new in RENAMED.items():
        if name.endswith(f".attn.{old}"):
            return name.removesuffix(old) + new
    return name
