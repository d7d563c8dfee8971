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
    """Each picture finds its text among all texts of the batch, and each text its picture.

    Arguments, methods and results are those of open_clip's class. It has no parameters.

    In several processes the gradients under DistributedDataParallel, which averages them, are those of one process
    with the joined batch where `gather_with_grad` is true, with or without `local_loss`; the loss is too, or with
    `local_loss` its mean over the processes is. Each process must have the same number of rows. Without
    `gather_with_grad` this is not so, in open_clip neither:

    - Without `local_loss` each process's features have the joined batch's gradient, which averaging then divides by
      the number of processes; that of the scale stays exact. Only optimisers that do not see the size of a gradient,
      as Adam, train alike.
    - With `local_loss` features get a gradient as what asks, but none as what is found: a part of the sum is missing.

    Args:
        local_loss: compare only the rows of this process with all others: [N, M] similarities instead of [M, M].
        gather_with_grad: let gradients flow back into the features of the other processes.
        cache_labels: keep the labels of a batch for the next one of the same size.
        rank: of this process.
        world_size: how many processes train together.
        use_horovod: refused.

    Attributes:
        labels: the cached labels by device.
        prev_num_logits: how many the newest of them are.

    Raises:
        InputError: `use_horovod`, or a rank that is out of range.
    """

    def __init__(  # noqa: PLR0917 - in open_clip's order
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
                "use_horovod=True: Horovod is no longer maintained, and not supported. No loss was made. Start the "
                "processes with torchrun, call torch.distributed.init_process_group(), and leave use_horovod out."
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
        """The column of each row's partner: [num_logits], int64."""
        kept = self.labels.get(device)
        if kept is not None and len(kept) == num_logits:
            return kept
        first = num_logits * self.rank if self.world_size > 1 and self.local_loss else 0
        with torch.inference_mode(False):  # else labels cached in evaluation could not serve training
            labels = torch.arange(first, first + num_logits, device=device, dtype=torch.long)
        if self.cache_labels:
            self.labels[device] = labels
            self.prev_num_logits = num_logits
        return labels

    def get_logits(
        self, image_features: Tensor, text_features: Tensor, logit_scale: Tensor, logit_bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Scaled similarities of pictures with texts and of texts with pictures.

        Args:
            image_features: [N, E], of length 1.
            text_features: [N, E], of length 1.
            logit_scale: factor, not its logarithm.
            logit_bias: summand; changes nothing in this loss.

        Returns:
            Two of [N, N]; in several processes [M, M], or with `local_loss` [N, M].

        Raises:
            InputError: features that are no pairs, or no group of `world_size` processes.
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
        """The loss of similarities as `get_logits` gives them."""
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
        """The loss; arguments as for `get_logits`.

        Returns:
            A scalar, or with `output_dict` {"contrastive_loss": scalar}.

        Raises:
            InputError: features that are no pairs, or no group of `world_size` processes.
        """
        loss = self.compare(*self.get_logits(image_features, text_features, logit_scale, logit_bias))
        return {"contrastive_loss": loss} if output_dict else loss
