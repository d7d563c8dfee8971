"""The Vision Transformer of CLIP.

Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929, with a norm before the blocks and a projection into the
joint space (Radford et al. 2021, https://arxiv.org/abs/2103.00020).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from registry_core.config.model import VisionConfig, as_pair
from registry_core.errors import BuildError
from registry_core.towers.cross_attention import AttentionalPooler
from registry_core.towers.inputs import check_image, unknown_pooling
from registry_core.towers.layers import BlockOptions, LayerNorm, Transformer
from registry_core.towers.locking import Group, lock_groups
from registry_core.towers.patch_dropout import PatchDropout
from registry_core.towers.positions import sin_cos_2d


class VisionTransformer(nn.Module):
    """The ViT image tower: images -> features.

    The steps are public, so that an architecture can compute something between them: `embed` (`patches`, then
    `to_tokens`), `transformer`, `head`.

    Args:
        config: A VisionConfig whose `layers` is a number.
        embed_dim: Width of the result, E.
        quick_gelu: Whether the blocks use OpenAI's activation.

    Attributes:
        output_tokens: Whether `forward` also returns the patch tokens. It starts as in the config and can be set.

    Raises:
        BuildError: The config describes a ResNet, or its patches or poolers do not fit its image or width.
    """

    low_precision_parameters = ("proj",)

    def __init__(self, config: VisionConfig, embed_dim: int, *, quick_gelu: bool) -> None:
        super().__init__()
        if not isinstance(config.layers, int) or config.patch_size is None:
            raise BuildError(
                f"A VisionTransformer needs a number of layers and a patch size, got layers={config.layers} and "
                f"patch_size={config.patch_size}. A list of four stages describes a ModifiedResNet. Nothing was built.",
                expected="a number of layers and a patch size",
                found=(config.layers, config.patch_size),
            )
        self.image_size, self.patch_size = as_pair(config.image_size), as_pair(config.patch_size)
        self.grid_size = config.grid_size
        if 0 in self.grid_size:
            raise BuildError(
                f"Patches of {self.patch_size} pixels do not fit an image of {self.image_size} pixels. Nothing was "
                "built.",
                expected=self.image_size,
                found=self.patch_size,
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
        """Create the attentional poolers that the config sets, and return the width of the pooled tokens."""
        self.attn_pool: AttentionalPooler | None = None
        self.attn_pool_contrastive: AttentionalPooler | None = None
        if not config.attentional_pool:
            return config.width
        heads = config.attn_pooler_heads
        self.attn_pool = AttentionalPooler(embed_dim, config.width, heads, config.attn_pooler_queries)
        if config.attentional_pool is not True:
            # One norm is applied to the image tokens and to the pooled tokens, so both need the same width.
            if config.width != embed_dim:
                raise BuildError(
                    f"attentional_pool={config.attentional_pool!r} needs a tower as wide as the embedding, got "
                    f"width={config.width} and embed_dim={embed_dim}. Nothing was built.",
                    expected=embed_dim,
                    found=config.width,
                    advice="Make them equal, or use attentional_pool=true.",
                )
            self.attn_pool_contrastive = AttentionalPooler(embed_dim, config.width, heads, 1)
        return embed_dim

    def reset_parameters(self) -> None:
        """Initialise the parameters with the distributions of the published training code."""
        for parameter in (self.class_embedding, self.positional_embedding, self.get_parameter("proj")):
            nn.init.normal_(parameter, std=self.config.width**-0.5)
        if self.config.pos_embed_type == "sin_cos_2d":
            self.positional_embedding.requires_grad_(False)
            with torch.no_grad():
                self.positional_embedding.copy_(sin_cos_2d(self.config.width, self.grid_size))

    def embed(self, image: Tensor) -> Tensor:
        """Images [N, 3, height, width] -> tokens [N, 1 + L, C], the class token first."""
        return self.to_tokens(self.patches(image))

    def patches(self, image: Tensor) -> Tensor:
        """Images [N, 3, height, width] -> patch embeddings [N, L, C], without position embeddings."""
        check_image(image, self.image_size)
        patches: Tensor = self.conv1(image).flatten(2).transpose(1, 2)
        return patches

    def to_tokens(self, patches: Tensor) -> Tensor:
        """Patch embeddings [N, L, C] -> tokens [N, 1 + L, C]: class token, positions, patch dropout, norm."""
        class_token = self.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        tokens = torch.cat([class_token, patches], dim=1)
        tokens = tokens + self.positional_embedding.to(tokens.dtype)
        normed: Tensor = self.ln_pre(self.patch_dropout(tokens))
        return normed

    def head(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Output of the blocks [N, 1 + L, C] -> features [N, E] and the patch tokens [N, L, C].

        With `pool_type="none"` nothing is pooled, and both results have all tokens. With attentional pooling the tokens
        are those of the pooler, of width E.
        """
        if self.attn_pool is not None and self.attn_pool_contrastive is not None:
            normed = self.ln_post(tokens)
            attended = self.attn_pool(normed)
            contrastive = self.attn_pool_contrastive(normed if self.config.attentional_pool == "parallel" else attended)
            return self._project(contrastive[:, 0]), attended
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
        """Tokens [N, 1 + L, C] -> the pooled token [N, C] that represents the image, and the patch tokens [N, L, C]."""
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
        """Images [N, 3, height, width] -> features [N, E]; with the patch tokens if `output_tokens` is set."""
        features, tokens = self.head(self.transformer(self.embed(image)))
        return (features, tokens) if self.output_tokens else features

    def lock(self, unlocked_groups: int = 0, freeze_bn_stats: bool = False) -> None:
        """Freeze the tower except for its last groups. The groups are the embeddings, each block, and the projection.

        Args:
            unlocked_groups: Number of groups that stay trainable, from the end.
            freeze_bn_stats: Accepted for uniformity; the tower has no batch norms.

        Raises:
            InputError: `unlocked_groups` is not a whole number, or is negative.
        """
        del freeze_bn_stats
        *first, last = self.transformer.resblocks
        blocks: list[Group] = [[block] for block in first]
        stem: Group = [self.conv1, self.class_embedding, self.positional_embedding, self.ln_pre]
        poolers = [pooler for pooler in (self.attn_pool, self.attn_pool_contrastive) if pooler is not None]
        top: Group = [] if self.proj is None else [self.proj]
        lock_groups([stem, *blocks, [last, *poolers, self.ln_post], top], unlocked_groups)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in the backward pass, which saves memory and costs time."""
        self.transformer.grad_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Return the names of the parameters that optimisers exclude from weight decay."""
        return {"positional_embedding", "class_embedding"}
