"""Training losses that architectures share, as modules. A model's plugin or its config decides which one it has.

The names below are for plugins and training programs. They are imported on first use, since they import torch.
"""

from typing import TYPE_CHECKING

from registry_core._lazy import lazy_exports
from registry_core.losses.options import LossOptions

if TYPE_CHECKING:
    from registry_core.losses.contrastive import ClipLoss, Losses
    from registry_core.losses.distillation import DistillClipLoss
    from registry_core.losses.siglip import SigLipLoss

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "ClipLoss": "contrastive",
        "Losses": "contrastive",
        "DistillClipLoss": "distillation",
        "SigLipLoss": "siglip",
    },
)

__all__ = ["ClipLoss", "DistillClipLoss", "LossOptions", "Losses", "SigLipLoss"]
