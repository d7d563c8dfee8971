"""The sigmoid loss (Zhai et al. 2023, https://arxiv.org/abs/2303.15343).

Legend: N rows of this process, M rows of all processes, E width of a feature.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from registry_core.losses.exchange import EXCHANGES, ProcessRank
from registry_core.losses.gathering import check_pair, check_process_group
from registry_core.losses.options import DIST_IMPLS, check_dist_impl, check_processes


class SigLipLoss(nn.Module):
    """The sigmoid loss: decide for each image and each text whether they match, without a softmax over the batch.

    Arguments, methods and results are those of open_clip's class. The loss has no parameters: scale and bias belong to
    the model.

    In several processes, each process must have the same number of rows. Each compares its own images with the texts of
    all processes. The mean of the losses over the processes equals the loss of one process with the joined batch, for
    each `dist_impl`. So do the gradients under DistributedDataParallel, which averages them.

    Args:
        cache_labels: Accepted, as in open_clip, but without effect: [N, N] labels cost no more than the logits.
        rank: Rank of this process.
        world_size: Number of processes that train together.
        dist_impl: How texts of the other processes are received: "bidir" and "shift" pass them around a ring, "reduce"
            and "gather" use collectives. None means "bidir".

    Raises:
        InputError: The rank is out of range, or the `dist_impl` does not exist.
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
        """Return [N, N] labels: 1 for pairs and -1 for all others. With `negative_only`, there are no pairs."""
        labels = torch.full((num_logits, num_logits), -1.0, device=device, dtype=dtype)
        return labels if negative_only else labels.fill_diagonal_(1.0)

    def get_logits(
        self, image_features: Tensor, text_features: Tensor, logit_scale: Tensor, logit_bias: Tensor | None = None
    ) -> Tensor:
        """Return the scaled similarities [N, N] of images with texts, plus the bias."""
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
        """Return the loss of one block of similarities, averaged over the images."""
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
        """Return the loss of all similarities of this process's images, averaged over the images.

        Args:
            image_features: [N, E], normalised to length 1.
            text_features: [N, E], normalised to length 1.
            logit_scale: The scale itself, not its logarithm.
            logit_bias: Added to the similarities. None means 0. Training then starts with a large loss, since most
                images and texts do not match.
            output_dict: Return a dict.

        Returns:
            A scalar, or with `output_dict` {"contrastive_loss": scalar}.

        Raises:
            InputError: The features do not have the same shape [N, E], or there is no group of `world_size` processes.
        """
        check_pair(image_features, text_features)
        loss = self._loss(image_features, text_features, logit_scale, logit_bias)
        if self.world_size > 1:
            check_process_group(self.rank, self.world_size)
            for others in EXCHANGES[self.dist_impl](text_features, ProcessRank(self.rank, self.world_size)):
                loss = loss + self._loss(image_features, others, logit_scale, logit_bias, negative_only=True)
        return {"contrastive_loss": loss} if output_dict else loss
