"""The loss of CoCa: a contrastive loss and a caption loss.

Yu et al. 2022, https://arxiv.org/abs/2205.01917, section 3.2.
"""

from __future__ import annotations

from torch import Tensor, nn

from registry_core.losses import ClipLoss, Losses


class CoCaLoss(ClipLoss):
    """The contrastive loss, and the cross-entropy of each next token of the captions.

    With several processes, the contrastive loss behaves as documented for ClipLoss. The caption loss is a mean over the
    tokens of this process. Its average over the processes equals that of the joined batch if each process has the same
    number of tokens that are not padding.

    Args:
        caption_loss_weight: Factor of the caption loss.
        clip_loss_weight: Factor of the contrastive loss; 0 leaves it out.
        pad_id: The padding id of the tokenizer. The caption loss ignores it.
        local_loss, gather_with_grad, cache_labels, rank, world_size, use_horovod: As for ClipLoss.

    Raises:
        InputError: `use_horovod` is set, or the rank is out of range.
    """

    def __init__(  # noqa: PLR0917 - in open_clip's order
        self,
        caption_loss_weight: float,
        clip_loss_weight: float,
        pad_id: int = 0,
        local_loss: bool = False,
        gather_with_grad: bool = False,
        cache_labels: bool = False,
        rank: int = 0,
        world_size: int = 1,
        use_horovod: bool = False,
    ) -> None:
        super().__init__(local_loss, gather_with_grad, cache_labels, rank, world_size, use_horovod)
        self.clip_loss_weight = clip_loss_weight
        self.caption_loss_weight = caption_loss_weight
        self.caption_loss = nn.CrossEntropyLoss(ignore_index=pad_id)

    def forward(  # type: ignore[override] # more inputs than ClipLoss # noqa: PLR0917 - in open_clip's order
        self,
        image_features: Tensor,
        text_features: Tensor,
        logits: Tensor,
        labels: Tensor,
        logit_scale: Tensor,
        output_dict: bool = False,
        logit_bias: Tensor | None = None,
    ) -> Losses:
        """Return both losses, each multiplied by its weight.

        Args:
            image_features: [N, E], of length 1.
            text_features: [N, E], of length 1.
            logits: Logits of the decoder, [N, L, V].
            labels: Ids of the tokens that the decoder should predict, [N, L], int64.
            logit_scale: The factor itself, not its logarithm.
            output_dict: Return a dict.
            logit_bias: Bias of a model that has one. It does not change this loss.

        Returns:
            Two scalars: (contrastive, caption), or with `output_dict` a dict of contrastive_loss and caption_loss.

        Raises:
            InputError: The features are not pairs, or there is no group of `world_size` processes.
        """
        contrastive = logits.new_zeros(())
        if self.clip_loss_weight:
            pairs = self.get_logits(image_features, text_features, logit_scale, logit_bias)
            contrastive = self.clip_loss_weight * self.compare(*pairs)
        caption: Tensor = self.caption_loss_weight * self.caption_loss(logits.permute(0, 2, 1), labels)
        return {"contrastive_loss": contrastive, "caption_loss": caption} if output_dict else (contrastive, caption)
