"""The Alpha-CLIP module.

The parameter names are those of https://github.com/SunzeY/AlphaCLIP, except for the names that convert.py changes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from registry_core import InputError
from registry_core.towers import ContrastiveModel, Output, TextLayers, VisionTransformer, build_image_tower

from .config import AlphaClipConfig, AlphaVisionConfig

MEAN, STD = 0.5, 0.26


def normalize_alpha(mask: Tensor) -> Tensor:
    """Normalise a mask in [0, 1], 1 where the tower should look, to the values that the tower was trained on."""
    return (mask - MEAN) / STD


class AlphaVisionTransformer(VisionTransformer):
    """A ViT whose patch embedding also reads an alpha channel."""

    def __init__(self, config: AlphaVisionConfig, embed_dim: int, *, quick_gelu: bool) -> None:
        super().__init__(config, embed_dim, quick_gelu=quick_gelu)
        self.conv1_alpha = nn.Conv2d(1, config.width, self.patch_size, self.patch_size, bias=False)
        self.reset_alpha()

    def reset_alpha(self) -> None:
        """Set the weights of the channel to zero, so that training starts from the features of a plain CLIP."""
        nn.init.zeros_(self.conv1_alpha.weight)

    def embed(self, image: Tensor, alpha: Tensor | None = None) -> Tensor:
        """Embed images [N, 3, height, width] and alpha [N, 1, height, width] as tokens [N, 1 + L, C].

        Raises:
            InputError: Alpha and the images differ in size.
        """
        patches = self.patches(image)
        alpha = normalize_alpha(torch.ones_like(image[:, :1])) if alpha is None else alpha
        if alpha.shape != image[:, :1].shape:
            raise InputError(
                f"alpha must have the images' size and one channel, {list(image[:, :1].shape)}, got "
                f"{list(alpha.shape)}.",
                argument="alpha",
                expected=list(image[:, :1].shape),
                found=list(alpha.shape),
                advice="normalize_alpha(mask) makes it from a mask in [0, 1].",
            )
        return self.to_tokens(patches + self.conv1_alpha(alpha).flatten(2).transpose(1, 2))

    def forward(self, image: Tensor, alpha: Tensor | None = None) -> Tensor:
        """Encode images with their alpha as features [N, E]."""
        return self.head(self.transformer(self.embed(image, alpha)))[0]


build_image_tower.register(AlphaVisionConfig, AlphaVisionTransformer)


class AlphaCLIP(ContrastiveModel, TextLayers):
    """A CLIP whose image tower takes an alpha channel.

    Args:
        config: Config of the model.
        tower: "image" or "text" builds only that tower. None builds both.
    """

    visual: AlphaVisionTransformer

    def __init__(self, config: AlphaClipConfig, tower: str | None = None) -> None:
        super().__init__(config, tower)
        if tower != "image":
            self.add_text_layers(config.text_cfg, config.embed_dim, quick_gelu=config.quick_gelu)
        self.add_logit_parameters()

    def encode_image(  # type: ignore[override] # the published order of arguments: alpha is the second
        self, image: Tensor, alpha: Tensor | None = None, normalize: bool = False
    ) -> Tensor:
        """Encode images [N, 3, height, width] as features [N, E].

        Args:
            image: Preprocessed images.
            alpha: [N, 1, height, width] from `normalize_alpha`. None means the whole image.
            normalize: Scale features to length 1.

        Raises:
            BuildError: The model was created without its image tower.
            InputError: The images have another size, or alpha differs from them.
        """
        self.need("image")
        features: Tensor = self.visual(image, alpha)
        return F.normalize(features, dim=-1) if normalize else features

    def text_features(self, text: Tensor) -> Tensor:
        """Encode token ids [N, L] as features [N, E]."""
        return self.encode_tokens(text)[0]

    def forward(self, image: Tensor | None = None, text: Tensor | None = None, alpha: Tensor | None = None) -> Output:
        """Compute normalised features and the logit scale, as CLIP does, with the alpha of the images."""
        features = None if image is None else self.encode_image(image, alpha, normalize=True)
        outputs = super().forward(None, text)
        return {**outputs, "image_features": features} if isinstance(outputs, dict) else (features, *outputs[1:])
