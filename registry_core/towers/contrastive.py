"""What all models of two towers have in common: features, similarities, and their scale.

Radford et al. 2021, https://arxiv.org/abs/2103.00020, figure 3; the bias is that of Zhai et al. 2023,
https://arxiv.org/abs/2303.15343.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from registry_core.errors import BuildError
from registry_core.towers.build import build_image_tower

if TYPE_CHECKING:
    from registry_core.config import ModelConfig

Output = dict[str, Tensor | None] | tuple[Tensor | None, ...]


class ContrastiveModel(nn.Module):
    """An image tower, and methods that users of CLIP call. A subclass adds its text side.

    Args:
        config: the model's config.
        tower: "image" or "text" leaves the other tower out; None builds both.

    Attributes:
        visual: the image tower, [N, 3, height, width] -> [N, E].
        logit_scale: logarithm of the factor between cosine similarity and logit.
        logit_bias: added to the logits, or None.
        output_dict: whether `forward` returns a dict instead of a tuple.
    """

    def __init__(self, config: ModelConfig, tower: str | None) -> None:
        super().__init__()
        self.config = config
        self.tower = tower
        self.output_dict = False
        if tower != "text":
            self.visual = build_image_tower(config.vision_cfg, config.embed_dim, quick_gelu=config.quick_gelu)

    def add_logit_parameters(self) -> None:
        """Create the scale and the bias; called last, where the published models have them."""
        shape = (1,) if self.config.nonscalar_logit_scale else ()
        self.logit_scale = nn.Parameter(torch.empty(shape))
        nn.init.constant_(self.logit_scale, self.config.init_logit_scale)
        self.logit_bias = None if self.config.init_logit_bias is None else nn.Parameter(torch.empty(shape))
        if self.logit_bias is not None:
            nn.init.constant_(self.logit_bias, self.config.init_logit_bias or 0.0)

    def text_features(self, text: Tensor) -> Tensor:
        """Token ids [N, L] -> features [N, E]; the subclass's text side."""
        raise NotImplementedError

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Pictures [N, 3, height, width] -> features [N, E]; `normalize` gives them length 1.

        Raises:
            BuildError: the model was created without its image tower.
            InputError: the pictures have another size.
        """
        self.need("image")
        features: Tensor = self.visual(image)
        return F.normalize(features, dim=-1) if normalize else features

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """Token ids [N, L], int64 -> features [N, E]; `normalize` gives them length 1.

        Raises:
            BuildError: the model was created without its text tower.
            InputError: the texts are longer than the context.
        """
        self.need("text")
        features = self.text_features(text)
        return F.normalize(features, dim=-1) if normalize else features

    def get_logits(self, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """Similarities [N images, M texts], scaled, and their transpose."""
        features = self.encode_image(image, normalize=True), self.encode_text(text, normalize=True)
        logits = self.logit_scale.exp() * features[0] @ features[1].T
        if self.logit_bias is not None:
            logits = logits + self.logit_bias
        return logits, logits.T

    def forward(self, image: Tensor | None = None, text: Tensor | None = None) -> Output:
        """Normalised features of both sides, and exp(logit_scale).

        Returns:
            (image_features, text_features, logit_scale[, logit_bias]), or a dict of these with `output_dict`; None
            stands for an input that was not given.
        """
        outputs: dict[str, Tensor | None] = {
            "image_features": None if image is None else self.encode_image(image, normalize=True),
            "text_features": None if text is None else self.encode_text(text, normalize=True),
            "logit_scale": self.logit_scale.exp(),
        }
        if self.logit_bias is not None:
            outputs["logit_bias"] = self.logit_bias
        return outputs if self.output_dict else tuple(outputs.values())

    def lock_image_tower(self, unlocked_groups: int = 0, freeze_bn_stats: bool = False) -> None:
        """Freeze the image tower but its last groups (Zhai et al. 2022, https://arxiv.org/abs/2111.07991)."""
        self.need("image")
        self.visual.lock(unlocked_groups, freeze_bn_stats=freeze_bn_stats)  # type: ignore[operator]

    def need(self, tower: str) -> None:
        """Refuse to go on without a tower.

        Raises:
            BuildError: the model was created without it.
        """
        if self.tower not in {None, tower}:
            raise BuildError(
                f"This model has no {tower} tower: it was created with tower={self.tower!r}. "
                f"Create it without `tower=`, or with tower={tower!r}."
            )
