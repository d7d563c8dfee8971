"""The sigmoid loss (Zhai et al. 2023, https://arxiv.org/abs/2303.15343).

Legend: N rows of this process, M rows of all processes, E width of a feature.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from registry_core.losses.exchange import EXCHANGES, Place
from registry_core.losses.gathering import check_pair, need_group
from registry_core.losses.options import DIST_IMPLS, check_dist_impl, check_processes


class SigLipLoss(nn.Module):
    """For each picture and each text, whether they are a pair: a yes or no of its own, and no softmax over the batch.

    Arguments, methods and results are those of open_clip's class. It has no parameters: scale and bias are the model's.

    In several processes each compares its own pictures with the texts of all. The mean of the losses over the
    processes, and the gradients under DistributedDataParallel, which averages them, are those of one process with the
    joined batch, for each `dist_impl`. Each process must have the same number of rows.

    Args:
        cache_labels: accepted as open_clip accepts it, and without effect: [N, N] labels cost no more than logits.
        rank: of this process.
        world_size: how many processes train together.
        dist_impl: how texts come from the other processes: "bidir" and "shift" pass them around, "reduce" and
            "gather" use collectives. None means "bidir".

    Raises:
        InputError: a rank that is out of range, or a `dist_impl` that there is not.
    """

    def __init__(
        self, cache_labels: bool = False, rank: int = 0, world_size: int = 1, dist_impl: str | None = None
    ) -> None:
        super().__init__()
        check_processes(rank, world_size)
        self.cache_labels = cache_labels
        self.rank = rank
        self.world_size = world_size
        self.dist_impl = dist_impl or DIST_IMPLS[0]
        check_dist_impl(self.dist_impl)
        self.prev_num_logits = 0
        self.labels: dict[torch.device, Tensor] = {}

    def get_ground_truth(
        self, device: torch.device, dtype: torch.dtype, num_logits: int, negative_only: bool = False
    ) -> Tensor:
        """[N, N], 1 for pairs and -1 for all others; `negative_only` where no row's partner is among the columns."""
        labels = torch.full((num_logits, num_logits), -1.0, device=device, dtype=dtype)
        return labels if negative_only else labels.fill_diagonal_(1.0)

    def get_logits(
        self, image_features: Tensor, text_features: Tensor, logit_scale: Tensor, logit_bias: Tensor | None = None
    ) -> Tensor:
        """Scaled similarities [N, N] of pictures with texts, and the bias."""
        logits = logit_scale * image_features @ text_features.T
        return logits if logit_bias is None else logits + logit_bias

    def _loss(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor,
        logit_bias: Tensor | None = None,
        negative_only: bool = False,
    ) -> Tensor:
        """The loss of one block of similarities, by picture."""
        rows = image_features.shape[0]
        labels = self.get_ground_truth(image_features.device, image_features.dtype, rows, negative_only)
        logits = self.get_logits(image_features, text_features, logit_scale, logit_bias)
        return -F.logsigmoid(labels * logits).sum() / rows

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor,
        logit_bias: Tensor | None = None,
        output_dict: bool = False,
    ) -> Tensor | dict[str, Tensor]:
        """The loss of all similarities of this process's pictures, by picture.

        Args:
            image_features: [N, E], of length 1.
            text_features: [N, E], of length 1.
            logit_scale: factor, not its logarithm.
            logit_bias: summand; None means 0, with which training starts far off, as most similarities are no pairs'.
            output_dict: return a dict.

        Returns:
            A scalar, or with `output_dict` {"contrastive_loss": scalar}.

        Raises:
            InputError: features that are no pairs, or no group of `world_size` processes.
        """
        check_pair(image_features, text_features)
        loss = self._loss(image_features, text_features, logit_scale, logit_bias)
        if self.world_size > 1:
            need_group(self.rank, self.world_size)
            for others in EXCHANGES[self.dist_impl](text_features, Place(self.rank, self.world_size)):
                loss = loss + self._loss(image_features, others, logit_scale, logit_bias, negative_only=True)
        return {"contrastive_loss": loss} if output_dict else loss
