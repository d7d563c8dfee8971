"""The training loss of a model: the one that its plugin provides, or the one that its config calls for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_core.errors import OverrideError
from registry_core.losses.choose import choose_loss
from registry_core.losses.options import LossOptions
from registry_core.resolve.services import Services

if TYPE_CHECKING:
    from torch import nn


def resolve_loss(
    services: Services, model: nn.Module | str, options: LossOptions, *, distill: bool, sigmoid: bool | None
) -> nn.Module:
    """Return the loss of a created model or of a name.

    Raises:
        RegistryError: As for `Registry.loss`.
    """
    if distill and sigmoid:
        raise OverrideError(
            "distill=True and sigmoid=True exclude each other: the similarities of a teacher are learnt as a softmax "
            "distribution over the batch. No loss was made.",
            argument="distill",
            advice="Leave one out.",
        )
    config = services.config_of(model)
    own = services.own_loss(config, options.checked())
    if own is None:
        return choose_loss(config, options, distill=distill, sigmoid=sigmoid)
    what = f"models of {config.architecture} are trained with a loss of their own, {type(own).__name__}"
    if distill:
        raise OverrideError(
            f"distill=True: {what}, which does not learn from a teacher. No loss was made.",
            argument="distill",
            advice="Leave distill out, or pass the features of both models to "
            "registry_core.losses.DistillClipLoss yourself.",
        )
    if sigmoid is not None:
        raise OverrideError(
            f"sigmoid={sigmoid}: {what}. No loss was made.", argument="sigmoid", advice="Leave sigmoid out."
        )
    return own
