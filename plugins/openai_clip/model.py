"""The CLIP module: an image tower and, at its own top level, the layers of the text tower."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from registry_core import BuildError, ModelConfig
from registry_core.towers.locking import lock_groups
from registry_core.towers.modified_resnet import ModifiedResNet
from registry_core.towers.text_transformer import TextLayers
from registry_core.towers.vision_transformer import VisionTransformer

Output = dict[str, Tensor | None] | tuple[Tensor | None, ...]


class CLIP(TextLayers):
    """Contrastive language-image pre-training with native towers.

    Radford et al. 2021, https://arxiv.org/abs/2103.00020; parameter names of https://github.com/openai/CLIP.

    Args:
        config: the model's config.
        tower: "image" or "text" leaves the other tower out; None builds both.

    Attributes:
        visual: the image tower, [N, 3, height, width] -> [N, E].
        logit_scale: logarithm of the factor between cosine similarity and logit.
        output_dict: whether `forward` returns a dict instead of a tuple.
    """

    def __init__(self, config: ModelConfig, tower: str | None = None) -> None:
        super().__init__()
        self.config = config
        self.tower = tower
        self.output_dict = False
        vision, quick_gelu = config.vision_cfg, config.quick_gelu
        if tower != "text":
            self.visual: nn.Module = (
                VisionTransformer(vision, config.embed_dim, quick_gelu=quick_gelu)
                if vision.is_vit
                else ModifiedResNet(vision, config.embed_dim)
            )
        if tower != "image":
            self.add_text_layers(config.text_cfg, config.embed_dim, quick_gelu=quick_gelu)
        shape = (1,) if config.nonscalar_logit_scale else ()
        self.logit_scale = nn.Parameter(torch.empty(shape))
        nn.init.constant_(self.logit_scale, config.init_logit_scale)
        self.logit_bias = None if config.init_logit_bias is None else nn.Parameter(torch.empty(shape))
        if self.logit_bias is not None:
            nn.init.constant_(self.logit_bias, config.init_logit_bias or 0.0)

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Pictures [N, 3, height, width] -> features [N, E]; `normalize` gives them length 1.

        Raises:
            BuildError: the model was created without its image tower.
            InputError: the pictures have another size.
        """
        self._need("image")
        features: Tensor = self.visual(image)
        return F.normalize(features, dim=-1) if normalize else features

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """Token ids [N, L], int64 -> features [N, E]; `normalize` gives them length 1.

        Raises:
            BuildError: the model was created without its text tower.
            InputError: the texts are longer than the context.
        """
        self._need("text")
        features, _ = self.encode_tokens(text)
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
        self._need("image")
        self.visual.lock(unlocked_groups, freeze_bn_stats=freeze_bn_stats)  # type: ignore[operator]

    def lock_text_tower(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Freeze the text tower but its last groups; norms are frozen with their block."""
        del freeze_layer_norm
        self._need("text")
        lock_groups(self.text_groups(), unlocked_layers)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training."""
        if self.tower != "text":
            self.visual.set_grad_checkpointing(enable)  # type: ignore[operator]
        if self.tower != "image":
            self.transformer.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that optimisers leave out of weight decay."""
        visual = self.visual.no_weight_decay() if self.tower != "text" else ()  # type: ignore[operator]
        return {"positional_embedding", *(f"visual.{name}" for name in visual)}

    def _need(self, tower: str) -> None:
        if self.tower not in {None, tower}:
            raise BuildError(
                f"This model has no {tower} tower: it was created with tower={self.tower!r}. "
                f"Create it without `tower=`, or with tower={tower!r}."
            )
