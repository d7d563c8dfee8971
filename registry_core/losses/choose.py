"""The loss of a config whose plugin does not provide one. torch is imported when the loss is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry_core.config.model import ModelConfig
from registry_core.losses.options import LossOptions

if TYPE_CHECKING:
    from torch import nn


def choose_loss(
    config: ModelConfig, options: LossOptions, *, distill: bool = False, sigmoid: bool | None = None
) -> nn.Module:
    """Return the sigmoid loss if the config has a logit bias, else the contrastive loss.

    Args:
        config: The config of the model.
        options: How the loss is computed.
        distill: Return the contrastive loss that also learns from a teacher.
        sigmoid: Return the sigmoid loss, or not, whatever the config has.

    Raises:
        OverrideError: The options hold an argument that these losses do not have.
    """
    options.own("The contrastive loss")
    if distill:
        from registry_core.losses.distillation import DistillClipLoss

        return DistillClipLoss(**options.contrastive())
    if sigmoid is None:  # The sigmoid loss needs a logit bias. A softmax does not depend on it.
        sigmoid = config.init_logit_bias is not None
    if sigmoid:
        from registry_core.losses.siglip import SigLipLoss

        return SigLipLoss(options.cache_labels, options.rank, options.world_size, options.dist_impl)
    from registry_core.losses.contrastive import ClipLoss

    return ClipLoss(**options.contrastive())
