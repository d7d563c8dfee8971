"""Training on a random subset of the patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PatchDropout(nn.Module):
    """Drop a share of the patch tokens in training (Li et al. 2022, https://arxiv.org/abs/2212.00794).

    The random numbers are drawn as open_clip draws them, so the same seed drops the same patches.

    Args:
        prob: Share of the patches to drop, 0 to 1. The class token is always kept.
    """

    def __init__(self, prob: float) -> None:
        super().__init__()
        self.prob = prob

    def forward(self, x: Tensor) -> Tensor:
        """[N, 1 + L, C] -> [N, 1 + kept, C] in training; unchanged in evaluation mode."""
        if not self.training or self.prob == 0:
            return x
        patches = x[:, 1:]
        kept = max(1, int(patches.shape[1] * (1 - self.prob)))
        order = torch.randn(patches.shape[:2], device=x.device).topk(kept, dim=1).indices
        return torch.cat([x[:, :1], patches.gather(1, order[..., None].expand(-1, -1, x.shape[-1]))], dim=1)
