"""Checkpoints for a DA-CLIP: a whole one, or a plain CLIP's for its base. What the file holds decides."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING

from registry_core import Conversion, LazyTensor
from registry_core.towers.positions import resize_grid

if TYPE_CHECKING:
    from registry_core import Registry

    from .config import DaClipConfig

BASE = "clip"
CONTROL = "visual_control"
# What a plain CLIP checkpoint cannot hold; initial_controller() writes it.
CONTROLLER = (CONTROL, "logit_scale")
# Position embeddings outside of the base: of the control tower, and of `visual`, which is the base's own.
POSITIONS = ("visual_control.positional_embedding", "visual.positional_embedding")


def convert(
    config: DaClipConfig, trained: DaClipConfig, state: Mapping[str, LazyTensor], registry: Registry
) -> Conversion:
    """A checkpoint under DaCLIP's names. The base's part is converted by the base's owner."""
    if not any(name.partition(".")[0] == CONTROL for name in state):
        base = registry.services.convert(config.base, trained.base, state)
        return Conversion(_prefixed(base.state), CONTROLLER, "plain CLIP for the base, controller started from it")
    inner = {name.removeprefix(f"{BASE}."): t for name, t in state.items() if name.partition(".")[0] == BASE}
    outer = {name: t for name, t in state.items() if name.partition(".")[0] != BASE}
    for name in POSITIONS:
        if name in outer:
            outer[name] = resize_grid(outer[name], trained.vision_cfg.grid_size, config.vision_cfg.grid_size)
    if "logit_scale" in outer and prod(outer["logit_scale"].shape) == 1:
        outer["logit_scale"] = outer["logit_scale"].reshaped((), outer["logit_scale"].note)
    base = registry.services.convert(config.base, trained.base, inner)
    return Conversion({**_prefixed(base.state), **outer}, kind="whole DA-CLIP, controller kept")


def _prefixed(state: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    return {f"{BASE}.{name}": tensor for name, tensor in state.items()}
