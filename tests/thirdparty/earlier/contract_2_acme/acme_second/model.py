"""The module of AcmeSecond: a CLIP with an adapter behind its image tower.

After Gao et al. 2021, "CLIP-Adapter", https://arxiv.org/abs/2110.04544. Replace it by your own idea.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from registry_core.towers.contrastive import ContrastiveModel
from registry_core.towers.text_transformer import TextLayers

from .config import AcmeSecondConfig


class AcmeSecond(ContrastiveModel, TextLayers):
    """encode_image, encode_text, forward and the rest of CLIP, with an adapter on the image features.

    Args:
        config: the model's config.
        tower: "image" or "text" leaves the other tower out; None builds both.
    """

    def __init__(self, config: AcmeSecondConfig, tower: str | None = None) -> None:
        super().__init__(config, tower)  # the image tower, unless tower is "text"
        if tower != "image":
            self.add_text_layers(config.text_cfg, config.embed_dim, quick_gelu=config.quick_gelu)
        if tower != "text":
            narrow, wide = config.adapter_width, config.embed_dim
            self.adapter = nn.Sequential(nn.Linear(wide, narrow), nn.GELU(), nn.Linear(narrow, wide))
            self.reset_adapter()
        self.add_logit_parameters()

    def reset_adapter(self) -> None:
        """Start the adapter: random below, zero above, so that it changes nothing until it is trained."""
        nn.init.normal_(self.adapter[0].weight, std=0.02)
        for parameter in (self.adapter[0].bias, self.adapter[2].weight, self.adapter[2].bias):
            nn.init.zeros_(parameter)

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Pictures [N, 3, height, width] -> features [N, E]; `normalize` gives them length 1."""
        features = super().encode_image(image)
        features = features + self.adapter(features)
        return F.normalize(features, dim=-1) if normalize else features

    def text_features(self, text: Tensor) -> Tensor:
        """Token ids [N, L] -> features [N, E]."""
        return self.encode_tokens(text)[0]
