"""Which loss a model has: its owner's, or else what its config is for. Free of torch until one is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry_core.errors import OverrideError
from registry_core.losses.options import LossOptions

if TYPE_CHECKING:
    from torch import nn

    from registry_core.companions import Companions


@dataclass(frozen=True, slots=True)
class Wish:
    """Which loss the caller wants, where it is not for the model to say.

    Attributes:
        distill: learn from another model too.
        sigmoid: the sigmoid loss, or the softmax one; None leaves it to the config.
    """

    distill: bool = False
    sigmoid: bool | None = None


def loss_of(registry: Companions, model: nn.Module | str, options: LossOptions, wish: Wish) -> nn.Module:
    """The loss of a created model or of a name.

    Raises:
        RegistryError: what `Registry.loss` says.
    """
    if wish.distill and wish.sigmoid:
        raise OverrideError(
            "distill=True and sigmoid=True exclude each other: a teacher's similarities are learnt as distributions "
            "over the batch, by softmax. No loss was made. Leave one out."
        )
    config = registry.services.resolve(model).config if isinstance(model, str) else registry.report(model).config
    own = registry.services.own_loss(config, options.checked())
    if own is not None:
        _refuse(wish, type(own).__name__, config.architecture)
        return own
    options.own("The contrastive loss")
    if wish.distill:
        from registry_core.losses.distillation import DistillClipLoss

        return DistillClipLoss(**options.contrastive())
    # A logit bias is what the sigmoid loss needs, and nothing to a softmax.
    if config.init_logit_bias is not None if wish.sigmoid is None else wish.sigmoid:
        from registry_core.losses.siglip import SigLipLoss

        return SigLipLoss(options.cache_labels, options.rank, options.world_size, options.dist_impl)
    from registry_core.losses.contrastive import ClipLoss

    return ClipLoss(**options.contrastive())


def _refuse(wish: Wish, loss: str, architecture: str) -> None:
    """Refuse a wish that an architecture's own loss does not fulfil."""
    if wish.distill:
        raise OverrideError(
            f"distill=True: models of {architecture} are trained with a loss of their own, {loss}, and a teacher has "
            "no part in it. No loss was made. Leave distill out, or give the features of both models to "
            "registry_core.losses.distillation.DistillClipLoss yourself."
        )
    if wish.sigmoid is not None:
        raise OverrideError(
            f"sigmoid={wish.sigmoid}: models of {architecture} are trained with a loss of their own, {loss}. No loss "
            "was made. Leave sigmoid out."
        )
