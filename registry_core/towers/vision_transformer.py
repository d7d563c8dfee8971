"""The Vision Transformer of CLIP.

Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929, with a norm before the blocks and a projection into the
joint space (Radford et al. 2021, https://arxiv.org/abs/2103.00020).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from registry_core.config import VisionConfig, as_pair
from registry_core.errors import BuildError
from registry_core.towers.cross_attention import AttentionalPooler
from registry_core.towers.inputs import check_image, unknown_pooling
from registry_core.towers.layers import BlockOptions, LayerNorm, Transformer
from registry_core.towers.locking import Group, lock_groups
from registry_core.towers.patch_dropout import PatchDropout
from registry_core.towers.positions import sin_cos_2d


class VisionTransformer(nn.Module):
    """Picture to feature.

    Its steps are public, so that an architecture can work between them: `embed` (`patches`, then `to_tokens`),
    `transformer`, `head`.

    Args:
        config: a VisionConfig with a number of layers.
        embed_dim: width of the result, E.
        quick_gelu: OpenAI's activation.

    Attributes:
        output_tokens: whether `forward` returns the patch tokens too; the config's, until it is set.

    Raises:
        BuildError: the config is a ResNet's, its patches do not fit its picture, or its poolers do not fit its width.
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
        self.output_tokens = config.output_tokens
        self.pool_type: str = config.pool_type
        self.final_ln_after_pool = config.final_ln_after_pool
        width, tokens = config.width, self.grid_size[0] * self.grid_size[1] + 1
        options = BlockOptions.of(config, width // config.head_width, quick_gelu=quick_gelu)
        self.conv1 = nn.Conv2d(3, width, self.patch_size, self.patch_size, bias=False)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(tokens, width))
        self.patch_dropout = PatchDropout(config.patch_dropout)
        self.ln_pre = nn.Identity() if config.no_ln_pre else options.layer_norm()
        self.transformer = Transformer(options, config.layers)
        pooled = self._add_poolers(config, embed_dim)
        self.ln_post = LayerNorm(pooled, eps=options.norm.eps)
        self.proj: nn.Parameter | None = nn.Parameter(torch.empty(pooled, embed_dim))
        self.reset_parameters()

    def _add_poolers(self, config: VisionConfig, embed_dim: int) -> int:
        """Create the attentional poolers that the config asks for, and return the width of what is pooled."""
        self.attn_pool: AttentionalPooler | None = None
        self.attn_pool_contrastive: AttentionalPooler | None = None
        if not config.attentional_pool:
            return config.width
        heads = config.attn_pooler_heads
        self.attn_pool = AttentionalPooler(embed_dim, config.width, heads, config.attn_pooler_queries)
        if config.attentional_pool is not True:
            # One norm serves both what is pooled and the result.
            if config.width != embed_dim:
                raise BuildError(
                    f"attentional_pool={config.attentional_pool!r} needs a tower as wide as the embedding, got "
                    f"width={config.width} and embed_dim={embed_dim}. Nothing was built. Make them equal, or take "
                    "attentional_pool=true."
                )
            self.attn_pool_contrastive = AttentionalPooler(embed_dim, config.width, heads, 1)
        return embed_dim

    def reset_parameters(self) -> None:
        """Random values with the distributions of the published training code."""
        for parameter in (self.class_embedding, self.positional_embedding, self.get_parameter("proj")):
            nn.init.normal_(parameter, std=self.config.width**-0.5)
        if self.config.pos_embed_type == "sin_cos_2d":
            self.positional_embedding.requires_grad_(False)
            with torch.no_grad():
                self.positional_embedding.copy_(sin_cos_2d(self.config.width, self.grid_size))

    def embed(self, image: Tensor) -> Tensor:
        """[N, 3, height, width] -> tokens [N, 1 + L, C], the class token first."""
        return self.to_tokens(self.patches(image))

    def patches(self, image: Tensor) -> Tensor:
        """[N, 3, height, width] -> patch embeddings [N, L, C], without positions."""
        check_image(image, self.image_size)
        patches: Tensor = self.conv1(image).flatten(2).transpose(1, 2)
        return patches

    def to_tokens(self, patches: Tensor) -> Tensor:
        """Patch embeddings [N, L, C] -> tokens [N, 1 + L, C]: class token, positions, dropout, norm."""
        class_token = self.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        tokens = torch.cat([class_token, patches], dim=1)
        tokens = tokens + self.positional_embedding.to(tokens.dtype)
        normed: Tensor = self.ln_pre(self.patch_dropout(tokens))
        return normed

    def head(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [N, 1 + L, C] after the blocks -> feature [N, E] and the patch tokens [N, L, C].

        With `pool_type="none"` nothing is pooled and both have all tokens. With attentional pooling the tokens are
        those that the queries found, of width E.
        """
        if self.attn_pool is not None and self.attn_pool_contrastive is not None:
            normed = self.ln_post(tokens)
            found = self.attn_pool(normed)
            contrastive = self.attn_pool_contrastive(normed if self.config.attentional_pool == "parallel" else found)
            return self._project(contrastive[:, 0]), found
        if self.attn_pool is not None:
            pooled, rest = self._pool(self.ln_post(self.attn_pool(tokens)))
            return self._project(pooled), rest
        if not self.final_ln_after_pool:
            tokens = self.ln_post(tokens)
        pooled, rest = self._pool(tokens)
        if self.final_ln_after_pool:
            pooled = self.ln_post(pooled)
        return self._project(pooled), rest

    def _project(self, pooled: Tensor) -> Tensor:
        return pooled if self.proj is None else pooled @ self.proj

    def _pool(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Of [N, 1 + L, C], what stands for the picture, and the rest."""
        match self.pool_type:
            case "tok":
                return tokens[:, 0], tokens[:, 1:]
            case "avg":
                return tokens[:, 1:].mean(dim=1), tokens[:, 1:]
            case "none":
                return tokens, tokens
            case other:
                raise unknown_pooling(other, VisionConfig)

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """[N, 3, height, width] -> feature [N, E]; with the patch tokens where `output_tokens` is set."""
        feature, tokens = self.head(self.transformer(self.embed(image)))
        return (feature, tokens) if self.output_tokens else feature

    def lock(self, unlocked_groups: int = 0, freeze_bn_stats: bool = False) -> None:
        """Freeze the tower but its last groups: embedding, then each block, then the projection."""
        del freeze_bn_stats  # there is no batch norm in it
        *first, last = self.transformer.resblocks
        blocks: list[Group] = [[block] for block in first]
        stem: Group = [self.conv1, self.class_embedding, self.positional_embedding, self.ln_pre]
        poolers = [pooler for pooler in (self.attn_pool, self.attn_pool_contrastive) if pooler is not None]
        top: Group = [] if self.proj is None else [self.proj]
        lock_groups([stem, *blocks, [last, *poolers, self.ln_post], top], unlocked_groups)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training."""
        self.transformer.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that optimisers leave out of weight decay."""
        return {"positional_embedding", "class_embedding"}
