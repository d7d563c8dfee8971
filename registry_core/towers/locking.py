"""Freezing towers (Zhai et al. 2022, https://arxiv.org/abs/2111.07991)."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from torch import nn

from registry_core.errors import InputError

Group = list[nn.Module | nn.Parameter]


def lock_groups(groups: Sequence[Group], unlocked: int) -> None:
    """Freeze the parameters of all groups but the last `unlocked`, which become trainable.

    Raises:
        InputError: `unlocked` is no number of groups.
    """
    first = len(groups) - number_of_groups(unlocked)
    for index, group in enumerate(groups):
        trainable = index >= first
        for part in group:
            for parameter in [part] if isinstance(part, nn.Parameter) else part.parameters():
                parameter.requires_grad = trainable


def number_of_groups(unlocked: int) -> int:
    """How many of the last groups stay trainable, as a plain number.

    Raises:
        InputError: it is no whole number, or below 0.
    """
    try:
        count = operator.index(unlocked)
    except TypeError:
        count = -1
    if count < 0:
        raise InputError(
            f"{unlocked!r} groups of a tower are to stay trainable: expected a whole number from 0 on, counted from "
            "the tower's end. Nothing was frozen."
        )
    return count


def check_norms(*, freeze_layer_norm: bool) -> None:
    """Refuse to leave norms trainable where they are frozen with their block.

    Raises:
        InputError: that is asked for.
    """
    if not freeze_layer_norm:
        raise InputError(
            "freeze_layer_norm=False: in a native text tower the norms are frozen with their block. Nothing was "
            "frozen. Leave it out; towers of transformers can leave theirs trainable."
        )
