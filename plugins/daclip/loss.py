"""The loss of DA-CLIP (Luo et al. 2023, https://arxiv.org/abs/2310.01018, section 3.1)."""

from __future__ import annotations

from torch import Tensor

from registry_core.losses import ClipLoss, Losses


class DaClipLoss(ClipLoss):
    """The contrastive loss of images and captions, and that of the images' degradations and their names.

    Two images of one batch may have the same degradation. Each still counts as a negative of the other, as in the
    original (https://github.com/Algolzw/daclip-uir). With several processes, both parts behave as documented for
    ClipLoss.
    """

    def forward(  # type: ignore[override] # more inputs than ClipLoss # noqa: PLR0917 - in the original's order
        self,
        image_features: Tensor,
        text_features: Tensor,
        image_degra_features: Tensor,
        text_degra_features: Tensor,
        logit_scale: Tensor,
        output_dict: bool = False,
    ) -> Losses:
        """Return both losses.

        Args:
            image_features: Features from the image tower with its controls, [N, E], of length 1.
            text_features: Features of the captions, [N, E], of length 1.
            image_degra_features: Features from the control tower, [N, E], of length 1.
            text_degra_features: Features of the degradations' names, [N, E], of length 1.
            logit_scale: Factor of both similarities, not its logarithm.
            output_dict: Return a dict.

        Returns:
            Two scalars: (contrastive, degradation), or with `output_dict` a dict of contrastive_loss and degra_loss.

        Raises:
            InputError: The features are not pairs, or there is no group of `world_size` processes.
        """
        captions = self.compare(*self.get_logits(image_features, text_features, logit_scale))
        degradations = self.compare(*self.get_logits(image_degra_features, text_degra_features, logit_scale))
        if output_dict:
            return {"contrastive_loss": captions, "degra_loss": degradations}
        return captions, degradations
