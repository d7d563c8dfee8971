"""Checkpoints for AcmeSecond: a whole one, or a plain CLIP's. What the file holds decides."""

from __future__ import annotations

from collections.abc import Mapping

from registry_core import Conversion, LazyTensor
from registry_core.towers.fitting import fit_image_positions, fit_scalars, fit_text_positions

from .config import AcmeSecondConfig

ADAPTER = "adapter"
# OpenAI's archives carry three numbers beside the parameters.
ARCHIVE_NUMBERS = frozenset({"input_resolution", "context_length", "vocab_size"})


def convert(
    config: AcmeSecondConfig, trained: AcmeSecondConfig, state: Mapping[str, LazyTensor]
) -> Conversion:
    """A checkpoint under the model's own names. Nothing is read here: tensors are renamed and reshaped lazily."""
    own = {name: tensor for name, tensor in state.items() if name not in ARCHIVE_NUMBERS}
    own = fit_image_positions(config.vision_cfg, trained.vision_cfg, own)
    own = fit_scalars(config, fit_text_positions(config, own))
    if any(name.startswith(f"{ADAPTER}.") for name in own):
        return Conversion(own, kind="AcmeSecond")
    # What the file cannot hold is left to post_load in plugin.py; the registry checks that it is written there.
    return Conversion(own, (ADAPTER,), "plain CLIP, adapter started")
