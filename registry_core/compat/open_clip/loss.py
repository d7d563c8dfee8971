"""Training losses."""

from __future__ import annotations

from registry_core.compat.open_clip.offered import class_lookup
from registry_core.losses.contrastive import ClipLoss
from registry_core.losses.distillation import DistillClipLoss
from registry_core.losses.siglip import SigLipLoss

__all__ = ["ClipLoss", "DistillClipLoss", "SigLipLoss"]

__getattr__ = class_lookup(__name__, "CoCaLoss")
