"""Learning from a trained model's similarities beside one's own pairs (Hinton et al. 2015, arXiv:1503.02531).

The student's similarities of a batch are to be distributed as the teacher's; as open_clip has it.
"""

from __future__ import annotations

from torch import Tensor

from registry_core.errors import InputError
from registry_core.losses.contrastive import ClipLoss, Losses


class DistillClipLoss(ClipLoss):
    """The contrastive loss, and the cross-entropy between the similarities of a teacher and of the student.

    What ClipLoss says of several processes holds for both parts.
    """

    def dist_loss(self, teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
        """Cross-entropy of the rows' distributions, [N, M] each, as a mean over N."""
        return -(teacher_logits.softmax(dim=1) * student_logits.log_softmax(dim=1)).sum(dim=1).mean(dim=0)

    def forward(  # type: ignore[override]  # noqa: PLR0917 - in open_clip's order
        self,
        image_features: Tensor,
        text_features: Tensor,
        logit_scale: Tensor,
        dist_image_features: Tensor,
        dist_text_features: Tensor,
        dist_logit_scale: Tensor,
        output_dict: bool = False,
        logit_bias: Tensor | None = None,
        dist_logit_bias: Tensor | None = None,
    ) -> Losses:
        """The losses of the student.

        Args:
            image_features: the student's, [N, E], of length 1.
            text_features: the student's, [N, E], of length 1.
            logit_scale: the student's factor.
            dist_image_features: the teacher's, [N, F], of length 1, computed without gradients.
            dist_text_features: the teacher's, [N, F], of length 1.
            dist_logit_scale: the teacher's factor.
            output_dict: return a dict.
            logit_bias: the student's, where it has one; changes nothing in this loss.
            dist_logit_bias: the teacher's, where it has one; changes nothing in this loss.

        Returns:
            (contrastive, distill), or with `output_dict` a dict with contrastive_loss and distill_loss; scalars.

        Raises:
            InputError: features that are no pairs, batches of two lengths, or no group of `world_size` processes.
        """
        own = self.get_logits(image_features, text_features, logit_scale, logit_bias)
        if len(dist_image_features) != len(image_features):
            raise InputError(
                f"The teacher's batch has {len(dist_image_features)} rows and the student's {len(image_features)}. "
                "Nothing was computed. Give both models the same batch."
            )
        taught = self.get_logits(dist_image_features, dist_text_features, dist_logit_scale, dist_logit_bias)
        contrastive = self.compare(*own)
        by_image, by_text = (self.dist_loss(teacher, student) for teacher, student in zip(taught, own, strict=True))
        distill = (by_image + by_text) / 2
        return {"contrastive_loss": contrastive, "distill_loss": distill} if output_dict else (contrastive, distill)
