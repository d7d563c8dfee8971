"""The loss of CoCa (Yu et al. 2022, https://arxiv.org/abs/2205.01917, section 3.2): pairs are found, captions told."""

from __future__ import annotations

from torch import Tensor, nn

from registry_core.losses.contrastive import ClipLoss, Losses


class CoCaLoss(ClipLoss):
    """The contrastive loss, and the cross-entropy of each next token of the captions.

    What ClipLoss says of several processes holds for the first. The second is a mean over the tokens of this process,
    so that the average over processes is the joined batch's where each has as many tokens that are no padding.

    Args:
        caption_loss_weight: factor of the caption loss.
        clip_loss_weight: factor of the contrastive loss; 0 leaves it out.
        pad_id: the token id that is never to be told: what the tokenizer fills up with.
        local_loss, gather_with_grad, cache_labels, rank, world_size, use_horovod: as for ClipLoss.

    Raises:
        InputError: `use_horovod`, or a rank that is out of range.
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

    def forward(  # type: ignore[override]  # noqa: PLR0917 - in open_clip's order
        self,
        image_features: Tensor,
        text_features: Tensor,
        logits: Tensor,
        labels: Tensor,
        logit_scale: Tensor,
        output_dict: bool = False,
        logit_bias: Tensor | None = None,
    ) -> Losses:
        """Both losses, times their weights.

        Args:
            image_features: [N, E], of length 1.
            text_features: [N, E], of length 1.
            logits: the decoder's, [N, L, V].
            labels: the ids of the tokens that it was to tell, [N, L], int64.
            logit_scale: factor, not its logarithm.
            output_dict: return a dict.
            logit_bias: of a model that has one; changes nothing in this loss.

        Returns:
            (contrastive, caption), or with `output_dict` a dict with contrastive_loss and caption_loss; scalars.

        Raises:
            InputError: features that are no pairs, or no group of `world_size` processes.
        """
        contrastive = logits.new_zeros(())
        if self.clip_loss_weight:
            pairs = self.get_logits(image_features, text_features, logit_scale, logit_bias)
            contrastive = self.clip_loss_weight * self.compare(*pairs)
        caption: Tensor = self.caption_loss_weight * self.caption_loss(logits.permute(0, 2, 1), labels)
        return {"contrastive_loss": contrastive, "caption_loss": caption} if output_dict else (contrastive, caption)
