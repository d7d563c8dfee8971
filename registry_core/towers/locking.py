"""Freezing towers (Zhai et al. 2022, https://arxiv.org/abs/2111.07991)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from registry_core.errors import InputError

Group = list[nn.Module | nn.Parameter]


def lock_groups(groups: Sequence[Group], unlocked: int) -> None:
    """Freeze the parameters of all groups but the last `unlocked`, which become trainable."""
    for index, group in enumerate(groups):
        trainable = index >= len(groups) - unlocked
        for part in group:
            for parameter in [part] if isinstance(part, nn.Parameter) else part.parameters():
                parameter.requires_grad = trainable


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
