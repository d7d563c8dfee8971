"""What a training program says of the loss that it wants; free of torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from registry_core.errors import InputError, OverrideError, did_you_mean

DIST_IMPLS = ("bidir", "shift", "reduce", "gather")
# What `Registry.loss` takes beside an architecture's own arguments; a misspelt one is looked for here too.
COMMON = (
    "sigmoid",
    "distill",
    "rank",
    "world_size",
    "local_loss",
    "gather_with_grad",
    "cache_labels",
    "dist_impl",
)
# What a value may be where the default is of a type; one of any other type may be anything.
_FITTING: dict[type, tuple[str, tuple[type, ...]]] = {
    bool: ("True or False", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    str: ("a string", (str,)),
}


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

    def checked(self) -> LossOptions:
        """The options, if they can be followed.

        Raises:
            InputError: rank and world size do not go together, or there is no such `dist_impl`.
        """
        check_processes(self.rank, self.world_size)
        check_dist_impl(self.dist_impl)
        return self

    def contrastive(self) -> dict[str, Any]:
        """Keyword arguments of ClipLoss and of what is made from it."""
        return {
            "local_loss": self.local_loss,
            "gather_with_grad": self.gather_with_grad,
            "cache_labels": self.cache_labels,
            "rank": self.rank,
            "world_size": self.world_size,
        }

    def own(self, loss: str, **defaults: Any) -> dict[str, Any]:
        """The arguments of an architecture's own loss: `further` laid over their defaults.

        Args:
            loss: the loss's name, for messages.
            **defaults: each argument that the loss has. Where it is a number, a string or a bool, so must the value be.

        Raises:
            OverrideError: `further` has an argument that the loss has not, or a value of another type.
        """
        for key, value in self.further.items():
            if key not in defaults:
                own = f"{loss}'s own are {', '.join(defaults)}" if defaults else f"{loss} has none of its own"
                raise OverrideError(
                    f"{key}= is no argument of this model's loss.{did_you_mean(key, (*defaults, *COMMON))} {own}. No "
                    "loss was made. Leave it out, or correct its name."
                )
            expected, types = _FITTING.get(type(defaults[key]), ("anything", (object,)))
            # A bool is an int to Python, and a slip here.
            stray = isinstance(value, bool) and int in types
            if stray or not isinstance(value, types):
                raise OverrideError(f"{key}={value!r}: {loss} expects {expected}. No loss was made.")
        return {**defaults, **self.further}


def check_processes(rank: int, world_size: int) -> None:
    """Refuse a rank that none of the processes has.

    Raises:
        InputError: `world_size` is below 1, or `rank` is not from 0 to world_size - 1.
    """
    whole = hasattr(rank, "__index__") and hasattr(world_size, "__index__")
    if not whole or world_size < 1 or not 0 <= rank < world_size:
        raise InputError(
            f"rank={rank!r} and world_size={world_size!r} do not go together: expected a world of 1 process or "
            "more, and a rank from 0 to world_size - 1. No loss was made. torch.distributed.get_rank() and "
            "get_world_size() give both."
        )


def check_dist_impl(name: str) -> None:
    """Refuse a way of exchange that there is not.

    Raises:
        InputError: it is none of DIST_IMPLS.
    """
    if name not in DIST_IMPLS:
        raise InputError(
            f"dist_impl={name!r} is unknown.{did_you_mean(str(name), DIST_IMPLS)} Expected one of "
            f"{', '.join(DIST_IMPLS)}. No loss was made."
        )
