"""Distillation: a student learns from a trained teacher as well as from pairs (Hinton et al. 2015, arXiv:1503.02531).

The loss makes the distributions of the student's similarities in a batch like those of the teacher, as in open_clip.
"""

from __future__ import annotations

from torch import Tensor

from registry_core.errors import InputError
from registry_core.losses.contrastive import ClipLoss, Losses


class DistillClipLoss(ClipLoss):
    """The contrastive loss, and the cross-entropy between the similarities of a teacher and of the student.

    Both parts behave in several processes as ClipLoss does.
    """

    def dist_loss(self, teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
        """Return the cross-entropy between the rows of two [N, M] similarity matrices, averaged over the rows."""
        return -(teacher_logits.softmax(dim=1) * student_logits.log_softmax(dim=1)).sum(dim=1).mean(dim=0)

    def forward(  # type: ignore[override]  # open_clip's signature has the teacher's outputs  # noqa: PLR0917 - its order
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
        """Return the losses of the student.

        Args:
            image_features: Of the student, [N, E], normalised to length 1.
            text_features: Of the student, [N, E], normalised to length 1.
            logit_scale: Scale of the student.
            dist_image_features: Of the teacher, [N, F], normalised to length 1, computed without gradients.
            dist_text_features: Of the teacher, [N, F], normalised to length 1.
            dist_logit_scale: Scale of the teacher.
            output_dict: Return a dict.
            logit_bias: Bias of the student, if it has one. It does not change this loss.
            dist_logit_bias: Bias of the teacher, if it has one. It does not change this loss.

        Returns:
            (contrastive, distill), or with `output_dict` a dict with contrastive_loss and distill_loss; scalars.

        Raises:
            InputError: A model's image and text features differ in shape, the batches of student and teacher differ in
                length, or there is no group of `world_size` processes.
        """
        own = self.get_logits(image_features, text_features, logit_scale, logit_bias)
        if len(dist_image_features) != len(image_features):
            raise InputError(
                f"The teacher's batch has {len(dist_image_features)} rows and the student's {len(image_features)}. "
                "Nothing was computed.",
                argument="dist_image_features",
                expected=len(image_features),
                found=len(dist_image_features),
                advice="Give both models the same batch.",
            )
        of_teacher = self.get_logits(dist_image_features, dist_text_features, dist_logit_scale, dist_logit_bias)
        contrastive = self.compare(*own)
        by_image, by_text = (self.dist_loss(teacher, student) for teacher, student in zip(of_teacher, own, strict=True))
        distill = (by_image + by_text) / 2
        return {"contrastive_loss": contrastive, "distill_loss": distill} if output_dict else (contrastive, distill)
