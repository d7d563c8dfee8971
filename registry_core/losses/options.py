"""The options of a training loss. This module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from registry_core.arguments import whole_number
from registry_core.errors import InputError, OverrideError, close_names, did_you_mean, unknown_choice

DIST_IMPLS = ("bidir", "shift", "reduce", "gather")
# Arguments of `Registry.loss` that are not an architecture's own. Suggestions for a misspelt argument include them.
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
# Type of a default -> the values that are accepted. A default of another type accepts any value.
_ACCEPTED: dict[type, tuple[str, tuple[type, ...]]] = {
    bool: ("True or False", (bool,)),
    int: ("a whole number", (int,)),
    float: ("a number", (int, float)),
    str: ("a string", (str,)),
}


@dataclass(frozen=True, slots=True)
class LossOptions:
    """How a loss is computed, in one process or in several.

    Attributes:
        rank: Rank of this process.
        world_size: Number of processes that train together.
        local_loss: In each process, compare only its own rows with the rows of all processes.
        gather_with_grad: Let gradients flow back to the features of the other processes.
        cache_labels: Keep the labels of a batch for the next batch of the same size.
        dist_impl: How the sigmoid loss exchanges features: "bidir", "shift", "reduce" or "gather".
        further: Arguments of an architecture's own loss, such as CoCa's `caption_loss_weight`.
    """

    rank: int = 0
    world_size: int = 1
    local_loss: bool = False
    gather_with_grad: bool = False
    cache_labels: bool = False
    dist_impl: str = "bidir"
    further: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> LossOptions:
        """Build the options from keyword arguments. Arguments that are not fields of this class go into `further`."""
        known = {field.name for field in fields(cls)} - {"further"}
        given = {key: value for key, value in options.items() if key in known}
        if not given.get("dist_impl"):  # None and "" mean the default
            given.pop("dist_impl", None)
        return cls(**given, further={key: value for key, value in options.items() if key not in known})

    def checked(self) -> LossOptions:
        """Return the options if they are valid.

        Raises:
            InputError: The rank and the world size do not fit together, or the `dist_impl` does not exist.
        """
        check_processes(self.rank, self.world_size)
        check_dist_impl(self.dist_impl)
        return self

    def contrastive(self) -> dict[str, Any]:
        """Return the keyword arguments of ClipLoss and its subclasses."""
        return {
            "local_loss": self.local_loss,
            "gather_with_grad": self.gather_with_grad,
            "cache_labels": self.cache_labels,
            "rank": self.rank,
            "world_size": self.world_size,
        }

    def own(self, loss: str, **defaults: Any) -> dict[str, Any]:
        """Return the arguments of an architecture's own loss: its defaults, overridden by `further`.

        Args:
            loss: Name of the loss, for messages.
            **defaults: Each argument of the loss, with its default. If the default is a number, a string or a bool, the
                value must be one too.

        Raises:
            OverrideError: The loss does not have an argument of `further`, or a value has the wrong type.
        """
        for key, value in self.further.items():
            if key not in defaults:
                raise _unknown_argument(loss, key, defaults)
            expected, types = _ACCEPTED.get(type(defaults[key]), ("anything", (object,)))
            # Python counts a bool as an int, but a bool for a number is a mistake.
            is_bool = isinstance(value, bool) and int in types
            if is_bool or not isinstance(value, types):
                raise OverrideError(
                    f"{key}={value!r}: {loss} expects {expected}. No loss was made.",
                    argument=key,
                    expected=expected,
                    found=value,
                )
        return {**defaults, **self.further}


def _unknown_argument(loss: str, key: str, defaults: Mapping[str, Any]) -> OverrideError:
    known = (*defaults, *COMMON)
    own = f"{loss}'s own are {', '.join(defaults)}" if defaults else f"{loss} has none of its own"
    return OverrideError(
        f"{key}= is not an argument of this model's loss.{did_you_mean(key, known)} {own}. No loss was made.",
        name=loss,
        argument=key,
        expected=list(defaults),
        suggestions=close_names(key, known),
        advice="Leave it out, or correct its name.",
    )


def check_processes(rank: int, world_size: int) -> None:
    """Check that the rank exists among the processes.

    Raises:
        InputError: `world_size` is below 1, or `rank` is not from 0 to world_size - 1.
    """
    number, processes = whole_number(rank), whole_number(world_size)
    if number is None or processes is None or not 0 <= number < processes:
        raise InputError(
            f"rank={rank!r} and world_size={world_size!r} do not go together: expected a world of 1 process or "
            "more, and a rank from 0 to world_size - 1. No loss was made.",
            argument="rank",
            expected="a rank from 0 to world_size - 1",
            found=(rank, world_size),
            advice="torch.distributed.get_rank() and get_world_size() return both.",
        )


def check_dist_impl(name: str) -> None:
    """Check that a way of exchange exists.

    Raises:
        InputError: The name is not in DIST_IMPLS.
    """
    if name not in DIST_IMPLS:
        raise unknown_choice(InputError, "dist_impl", name, DIST_IMPLS, "No loss was made.")
