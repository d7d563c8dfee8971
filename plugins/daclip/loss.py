"""The loss of DA-CLIP (Luo et al. 2023, https://arxiv.org/abs/2310.01018, section 3.1)."""

from __future__ import annotations

from torch import Tensor

from registry_core.losses.contrastive import ClipLoss, Losses


class DaClipLoss(ClipLoss):
    """The contrastive loss of pictures and captions, and that of the pictures' degradations and their names.

    Two pictures of one batch may have the same degradation; each still counts as the other's wrong answer, as in the
    original (https://github.com/Algolzw/daclip-uir). What ClipLoss says of several processes holds for both parts.
    """

    def forward(  # type: ignore[override]  # noqa: PLR0917 - in the original's order
        self,
        image_features: Tensor,
        text_features: Tensor,
        image_degra_features: Tensor,
        text_degra_features: Tensor,
        logit_scale: Tensor,
        output_dict: bool = False,
    ) -> Losses:
        """Both losses.

        Args:
            image_features: of the image tower with its controls, [N, E], of length 1.
            text_features: of the captions, [N, E], of length 1.
            image_degra_features: of the control tower, [N, E], of length 1.
            text_degra_features: of the degradations' names, [N, E], of length 1.
            logit_scale: factor of both, not its logarithm.
            output_dict: return a dict.

        Returns:
            (contrastive, degradation), or with `output_dict` a dict with contrastive_loss and degra_loss; scalars.

        Raises:
            InputError: features that are no pairs, or no group of `world_size` processes.
        """
        captions = self.compare(*self.get_logits(image_features, text_features, logit_scale))
        degradations = self.compare(*self.get_logits(image_degra_features, text_degra_features, logit_scale))
        if output_dict:
            return {"contrastive_loss": captions, "degra_loss": degradations}
        return captions, degradations
