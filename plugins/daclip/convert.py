"""Conversion of checkpoints for a DA-CLIP. By its content, a file is a whole DA-CLIP or a plain CLIP for its base."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from registry_core import Conversion, LazyTensor
from registry_core.towers import fit_image_positions

if TYPE_CHECKING:
    from registry_core import PluginRegistry

    from .config import DaClipConfig

BASE = "clip"
CONTROL = "visual_control"
# What a plain CLIP checkpoint lacks; initial_controller() writes it.
CONTROLLER = (CONTROL, "logit_scale")
# Image towers outside of the `clip.` names: the control tower, and `visual`, the second name of the base's tower.
IMAGE_TOWERS = ("visual_control.", "visual.")


def convert(
    config: DaClipConfig, trained: DaClipConfig, state: Mapping[str, LazyTensor], registry: PluginRegistry
) -> Conversion:
    """Convert a checkpoint to DaCLIP's names. The owner of the base converts the base's part.

    Args:
        config: Config of the model.
        trained: The config that the tensors were shaped for.
        state: The checkpoint.
        registry: Finds the owner of the base.

    Raises:
        CheckpointError: Position embeddings cannot be resized, or the base's part has another library's layout.
    """
    # A text side that was saved alone has names of the base (`clip.`), but no control tower.
    if not any(name.partition(".")[0] in {CONTROL, BASE} for name in state):
        base = registry.services.convert(config.base, trained.base, state)
        return Conversion(_prefixed(base.state), CONTROLLER, "plain CLIP for the base, controller started from it")
    inner = {name.removeprefix(f"{BASE}."): t for name, t in state.items() if name.partition(".")[0] == BASE}
    outer = {name: t for name, t in state.items() if name.partition(".")[0] != BASE}
    for prefix in IMAGE_TOWERS:
        outer = fit_image_positions(config.vision_cfg, trained.vision_cfg, outer, prefix)
    if "logit_scale" in outer and prod(outer["logit_scale"].shape) == 1:
        outer["logit_scale"] = outer["logit_scale"].reshaped((), outer["logit_scale"].note)
    base = registry.services.convert(config.base, trained.base, inner)
    return Conversion({**_prefixed(base.state), **outer}, kind="whole DA-CLIP, controller kept")


def _prefixed(state: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    return {f"{BASE}.{name}": tensor for name, tensor in state.items()}
