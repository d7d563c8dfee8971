"""Freezing of towers (Zhai et al. 2022, https://arxiv.org/abs/2111.07991)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from registry_core.arguments import whole_number
from registry_core.errors import InputError

Group = list[nn.Module | nn.Parameter]


def lock_groups(groups: Sequence[Group], unlocked: int, argument: str = "unlocked_groups") -> None:
    """Make the parameters of the last groups trainable and freeze those of all other groups.

    Args:
        groups: Modules and parameters of a tower, from its input to its output.
        unlocked: How many of the last groups are trainable.
        argument: Name of the caller's argument, for the message.

    Raises:
        InputError: `unlocked` is not a whole number, or is negative.
    """
    first = len(groups) - number_of_groups(unlocked, argument)
    for index, group in enumerate(groups):
        trainable = index >= first
        for part in group:
            for parameter in [part] if isinstance(part, nn.Parameter) else part.parameters():
                parameter.requires_grad = trainable


def number_of_groups(unlocked: object, argument: str = "unlocked_groups") -> int:
    """Return how many of the last groups stay trainable, as an int.

    Args:
        unlocked: The caller's number; those of numpy and torch are accepted.
        argument: Name of the caller's argument, for the message.

    Raises:
        InputError: `unlocked` is not a whole number, or is negative.
    """
    count = whole_number(unlocked)
    if count is None or count < 0:
        raise InputError(
            f"{argument}={unlocked!r}: expected the number of trainable groups, a whole number from 0 on, counted from "
            "the output of the tower. Nothing was frozen.",
            argument=argument,
            expected="a whole number from 0 on",
            found=unlocked,
        )
    return count


def check_norms(*, freeze_layer_norm: bool) -> None:
    """Refuse to keep the norms of a native text tower trainable. They belong to the groups of their blocks.

    Raises:
        InputError: `freeze_layer_norm` is false.
    """
    if not freeze_layer_norm:
        raise InputError(
            "freeze_layer_norm=False: a native text tower freezes its norms together with their blocks. Nothing was "
            "frozen.",
            argument="freeze_layer_norm",
            expected=True,
            found=freeze_layer_norm,
            advice="Leave the argument out; only text towers of transformers can keep their norms trainable.",
        )
