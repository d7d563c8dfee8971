"""The Vision Transformer of CLIP.

Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929, with a norm before the blocks and a projection into the
joint space (Radford et al. 2021, https://arxiv.org/abs/2103.00020).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from registry_core.config import VisionConfig, as_pair
from registry_core.errors import BuildError
from registry_core.towers.inputs import check_image
from registry_core.towers.layers import BlockOptions, PatchDropout, Transformer
from registry_core.towers.locking import Group, lock_groups
from registry_core.towers.positions import sin_cos_2d


class VisionTransformer(nn.Module):
    """Picture to feature.

    Its three steps are public, so that an architecture can work between them: `embed`, `transformer`, `head`.

    Args:
        config: a VisionConfig with a number of layers.
        embed_dim: width of the result, E.
        quick_gelu: OpenAI's activation.

    Raises:
        BuildError: the config is a ResNet's, or its patches do not fit its picture.
    """

    low_precision_parameters = ("proj",)

    def __init__(self, config: VisionConfig, embed_dim: int, *, quick_gelu: bool) -> None:
        super().__init__()
        if not isinstance(config.layers, int) or config.patch_size is None:
            raise BuildError(
                f"A VisionTransformer needs a number of layers and a patch size, got layers={config.layers} and "
                f"patch_size={config.patch_size}. Four stages of layers describe a ModifiedResNet. Nothing was built."
            )
        self.image_size, self.patch_size = as_pair(config.image_size), as_pair(config.patch_size)
        self.grid_size = config.grid_size
        if 0 in self.grid_size:
            raise BuildError(
                f"Patches of {self.patch_size} do not fit a picture of {self.image_size}. Nothing was built."
            )
        self.config = config
        self.output_dim = embed_dim
        width, tokens = config.width, self.grid_size[0] * self.grid_size[1] + 1
        options = BlockOptions.of(config, width // config.head_width, quick_gelu=quick_gelu)
        self.conv1 = nn.Conv2d(3, width, self.patch_size, self.patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(tokens, width))
        self.patch_dropout = PatchDropout(config.patch_dropout)
        self.ln_pre = nn.Identity() if config.no_ln_pre else options.layer_norm()
        self.transformer = Transformer(options, config.layers)
        self.ln_post = options.layer_norm()
        self.proj = nn.Parameter(torch.empty(width, embed_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Random values with the distributions of the published training code."""
        for parameter in (self.class_embedding, self.positional_embedding, self.proj):
            nn.init.normal_(parameter, std=self.config.width**-0.5)
        if self.config.pos_embed_type == "sin_cos_2d":
            self.positional_embedding.requires_grad_(False)
            with torch.no_grad():
                self.positional_embedding.copy_(sin_cos_2d(self.config.width, self.grid_size))

    def embed(self, image: Tensor) -> Tensor:
        """[N, 3, height, width] -> tokens [N, 1 + L, C], the class token first."""
        check_image(image, self.image_size)
        patches = self.conv1(image).flatten(2).transpose(1, 2)  # [N, L, C]
        class_token = self.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        tokens = torch.cat([class_token, patches], dim=1)
        tokens = tokens + self.positional_embedding.to(tokens.dtype)
        normed: Tensor = self.ln_pre(self.patch_dropout(tokens))
        return normed

    def head(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [N, 1 + L, C] after the blocks -> feature [N, E] and the patch tokens [N, L, C].

        With `pool_type="none"` nothing is pooled and both have all tokens.
        """
        if not self.config.final_ln_after_pool:
            tokens = self.ln_post(tokens)
        match self.config.pool_type:
            case "tok":
                pooled, rest = tokens[:, 0], tokens[:, 1:]
            case "avg":
                pooled, rest = tokens[:, 1:].mean(dim=1), tokens[:, 1:]
            case "none":
                pooled = rest = tokens
        if self.config.final_ln_after_pool:
            pooled = self.ln_post(pooled)
        return pooled @ self.proj, rest

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """[N, 3, height, width] -> feature [N, E]; with the patch tokens if the config asks for `output_tokens`."""
        feature, tokens = self.head(self.transformer(self.embed(image)))
        return (feature, tokens) if self.config.output_tokens else feature

    def lock(self, unlocked_groups: int = 0, *, freeze_bn_stats: bool = False) -> None:
        """Freeze the tower but its last groups: embedding, then each block, then the projection."""
        del freeze_bn_stats  # there is no batch norm in it
        *first, last = self.transformer.resblocks
        blocks: list[Group] = [[block] for block in first]
        stem: Group = [self.conv1, self.class_embedding, self.positional_embedding, self.ln_pre]
        lock_groups([stem, *blocks, [last, self.ln_post], [self.proj]], unlocked_groups)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training."""
        self.transformer.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that optimisers leave out of weight decay."""
        return {"positional_embedding", "class_embedding"}
