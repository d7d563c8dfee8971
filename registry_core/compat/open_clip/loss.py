"""The losses of training."""

from __future__ import annotations

from registry_core.compat.open_clip.offered import offered
from registry_core.losses.contrastive import ClipLoss
from registry_core.losses.distillation import DistillClipLoss
from registry_core.losses.siglip import SigLipLoss

__all__ = ["ClipLoss", "DistillClipLoss", "SigLipLoss"]

__getattr__ = offered(__name__, "CoCaLoss")
