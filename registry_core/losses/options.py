"""What a training program says of the loss that it wants; free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class LossOptions:
    """How a loss is computed, in one process or in several.

    Attributes:
        rank: of this process.
        world_size: how many processes train together.
        local_loss: of each process compare only its own rows with all others.
        gather_with_grad: let gradients flow back into the features of the other processes.
        cache_labels: keep the labels of a batch for the next one of the same size.
        dist_impl: how the sigmoid loss exchanges features: "bidir", "shift", "reduce" or "gather".
        further: arguments of an architecture's own loss, such as CoCa's `caption_loss_weight`.
    """

    rank: int = 0
    world_size: int = 1
    local_loss: bool = False
    gather_with_grad: bool = False
    cache_labels: bool = False
    dist_impl: str = "bidir"
    further: Mapping[str, Any] = field(default_factory=dict)
