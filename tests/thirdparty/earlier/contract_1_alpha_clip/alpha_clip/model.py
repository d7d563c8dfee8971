"""The Alpha-CLIP module; parameter names of https://github.com/SunzeY/AlphaCLIP, but for what convert.py renames."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from registry_core import InputError
from registry_core.towers.build import build_image_tower
from registry_core.towers.contrastive import ContrastiveModel, Output
from registry_core.towers.text_transformer import TextLayers
from registry_core.towers.vision_transformer import VisionTransformer

from .config import AlphaClipConfig, AlphaVisionConfig

MEAN, STD = 0.5, 0.26


def normalize_alpha(mask: Tensor) -> Tensor:
    """A mask in [0, 1], 1 where the picture is meant, as the tower was trained to see it."""
    return (mask - MEAN) / STD


class AlphaVisionTransformer(VisionTransformer):
    """A ViT whose patch embedding also sees an alpha channel."""

    def __init__(self, config: AlphaVisionConfig, embed_dim: int, *, quick_gelu: bool) -> None:
        super().__init__(config, embed_dim, quick_gelu=quick_gelu)
        self.conv1_alpha = nn.Conv2d(1, config.width, self.patch_size, self.patch_size, bias=False)
        self.reset_alpha()

    def reset_alpha(self) -> None:
        """Let the channel change nothing, as training starts from a plain CLIP."""
        nn.init.zeros_(self.conv1_alpha.weight)

    def embed(self, image: Tensor, alpha: Tensor | None = None) -> Tensor:
        """[N, 3, height, width] and alpha [N, 1, height, width] -> tokens [N, 1 + L, C].

        Raises:
            InputError: alpha is not of the pictures' size.
        """
        patches = self.patches(image)
        alpha = normalize_alpha(torch.ones_like(image[:, :1])) if alpha is None else alpha
        if alpha.shape != image[:, :1].shape:
            raise InputError(
                f"alpha must have the pictures' size and one channel, {list(image[:, :1].shape)}, got "
                f"{list(alpha.shape)}. normalize_alpha(mask) makes it of a mask in [0, 1]."
            )
        return self.to_tokens(patches + self.conv1_alpha(alpha).flatten(2).transpose(1, 2))

    def forward(self, image: Tensor, alpha: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """Pictures and what is meant in them -> features [N, E]."""
        return self.head(self.transformer(self.embed(image, alpha)))[0]


build_image_tower.register(AlphaVisionConfig, AlphaVisionTransformer)


class AlphaCLIP(ContrastiveModel, TextLayers):
    """A CLIP whose image tower takes an alpha channel.

    Args:
        config: the model's config.
        tower: "image" or "text" leaves the other tower out; None builds both.
    """

    def __init__(self, config: AlphaClipConfig, tower: str | None = None) -> None:
        super().__init__(config, tower)
        if tower != "image":
            self.add_text_layers(config.text_cfg, config.embed_dim, quick_gelu=config.quick_gelu)
        self.add_logit_parameters()

    def encode_image(  # type: ignore[override]
        self, image: Tensor, alpha: Tensor | None = None, normalize: bool = False
    ) -> Tensor:
        """Pictures [N, 3, height, width] -> features [N, E].

        Args:
            image: preprocessed pictures.
            alpha: [N, 1, height, width] of `normalize_alpha`; None means the whole picture.
            normalize: give features length 1.
        """
        self.need("image")
        features: Tensor = self.visual(image, alpha)
        return F.normalize(features, dim=-1) if normalize else features

    def text_features(self, text: Tensor) -> Tensor:
        """Token ids [N, L] -> features [N, E]."""
        return self.encode_tokens(text)[0]

    def forward(  # type: ignore[override]
        self, image: Tensor | None = None, text: Tensor | None = None, alpha: Tensor | None = None
    ) -> Output:
        """As CLIP's, with the pictures' alpha."""
        features = None if image is None else self.encode_image(image, alpha, normalize=True)
        outputs = super().forward(None, text)
        return {**outputs, "image_features": features} if isinstance(outputs, dict) else (features, *outputs[1:])
