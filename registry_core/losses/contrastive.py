"""The contrastive loss of CLIP (Radford et al. 2021, https://arxiv.org/abs/2103.00020, figure 3).

Legend: N rows of this process, M rows of all processes, E width of a feature.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from registry_core.errors import InputError
from registry_core.losses.gathering import check_pair, gather_rows
from registry_core.losses.options import check_processes

Losses = Tensor | tuple[Tensor, ...] | dict[str, Tensor]


class ClipLoss(nn.Module):
    """The contrastive loss: find the text of each image among all texts of the batch, and the image of each text.

    Arguments, methods and results are those of open_clip's class. The loss has no parameters.

    In several processes, each process must have the same number of rows. DistributedDataParallel averages the gradients
    over the processes. With `gather_with_grad=True`, the averaged gradients equal those of one process with the joined
    batch, with or without `local_loss`. The loss also equals that of the joined batch; with `local_loss=True`, its mean
    over the processes does. With `gather_with_grad=False`, in open_clip too, the gradients differ:

    - `local_loss=False`: The features have the gradient of the joined batch, and averaging divides it by the number of
      processes. The gradient of the scale is exact. Training is the same only with optimisers that ignore the size of
      gradients, such as Adam.
    - `local_loss=True`: Features receive gradients as queries but not as keys. A part of the gradient is missing.

    Args:
        local_loss: Compare only the rows of this process with all rows: [N, M] similarities instead of [M, M].
        gather_with_grad: Let gradients flow back to the features of the other processes.
        cache_labels: Keep the labels of a batch for the next batch of the same size.
        rank: Rank of this process.
        world_size: Number of processes that train together.
        use_horovod: Not supported; True raises an error.

    Attributes:
        labels: The cached labels of each device.
        prev_num_logits: Number of labels that were cached last.

    Raises:
        InputError: `use_horovod` is True, or the rank is out of range.
    """

    def __init__(  # noqa: PLR0917 - the order of open_clip's arguments
        self,
        local_loss: bool = False,
        gather_with_grad: bool = False,
        cache_labels: bool = False,
        rank: int = 0,
        world_size: int = 1,
        use_horovod: bool = False,
    ) -> None:
        super().__init__()
        if use_horovod:
            raise InputError(
                "use_horovod=True: Horovod is no longer maintained, and not supported. No loss was made.",
                argument="use_horovod",
                found=use_horovod,
                advice="Start the processes with torchrun, call torch.distributed.init_process_group(), and leave "
                "use_horovod out.",
            )
        check_processes(rank, world_size)
        self.local_loss = local_loss
        self.gather_with_grad = gather_with_grad
        self.cache_labels = cache_labels
        self.rank = rank
        self.world_size = world_size
        self.use_horovod = use_horovod
        self.prev_num_logits = 0
        self.labels: dict[torch.device, Tensor] = {}

    def get_ground_truth(self, device: torch.device, num_logits: int) -> Tensor:
        """Return the column of the matching feature for each row: [num_logits], int64."""
        cached = self.labels.get(device)
        if cached is not None and len(cached) == num_logits:
            return cached
        first = num_logits * self.rank if self.world_size > 1 and self.local_loss else 0
        with torch.inference_mode(False):  # labels cached in inference mode could not be used in training
            labels = torch.arange(first, first + num_logits, device=device, dtype=torch.long)
        if self.cache_labels:
            self.labels[device] = labels
            self.prev_num_logits = num_logits
        return labels

    def get_logits(
        self, image_features: Tensor, text_features: Tensor, logit_scale: Tensor, logit_bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the scaled similarities of images with texts, and of texts with images.

        Args:
            image_features: [N, E], normalised to length 1.
            text_features: [N, E], normalised to length 1.
            logit_scale: The scale itself, not its logarithm.
            logit_bias: Added to the similarities. It does not change this loss.

        Returns:
            Two tensors [N, N]; in several processes [M, M], or with `local_loss` [N, M].

        Raises:
            InputError: The features do not have the same shape [N, E], or there is no group of `world_size` processes.
        """
        check_pair(image_features, text_features)
        all_images, all_texts = self._gathered(image_features), self._gathered(text_features)
        if self.world_size > 1 and not self.local_loss:
            logits_per_image = logit_scale * all_images @ all_texts.T
            logits_per_text = logits_per_image.T
        else:
            logits_per_image = logit_scale * image_features @ all_texts.T
            logits_per_text = logit_scale * text_features @ all_images.T
        if logit_bias is None:
            return logits_per_image, logits_per_text
        return logits_per_image + logit_bias, logits_per_text + logit_bias

    def _gathered(self, features: Tensor) -> Tensor:
        """[N, E] -> [M, E]."""
        if self.world_size == 1:
            return features
        return gather_rows(
            features,
            self.rank,
            self.world_size,
            local_loss=self.local_loss,
            gather_with_grad=self.gather_with_grad,
        )

    def compare(self, logits_per_image: Tensor, logits_per_text: Tensor) -> Tensor:
        """Return the loss of the similarities that `get_logits` returns."""
        labels = self.get_ground_truth(logits_per_image.device, logits_per_image.shape[0])
        return (F.cross_entropy(logits_per_image, labels) + F.cross_entropy(logits_per_text, labels)) / 2

    def forward(
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor,
        logit_bias: Tensor | None = None,
        output_dict: bool = False,
    ) -> Losses:
        """Return the loss. Arguments are as for `get_logits`.

        Returns:
            A scalar, or with `output_dict` {"contrastive_loss": scalar}.

        Raises:
            InputError: The features do not have the same shape [N, E], or there is no group of `world_size` processes.
        """
        loss = self.compare(*self.get_logits(image_features, text_features, logit_scale, logit_bias))
        return {"contrastive_loss": loss} if output_dict else loss
