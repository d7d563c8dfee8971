"""The layers of the native towers: pre-norm residual transformer blocks.

Legend: N batch, L tokens, C width, H heads, D width of a head.
Sources: Radford et al. 2021, https://arxiv.org/abs/2103.00020 and https://github.com/openai/CLIP;
https://github.com/mlfoundations/open_clip for options that the original lacks.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from registry_core.config.model import ActivationOptions, NormOptions, TextConfig, VisionConfig
from registry_core.errors import BuildError
from registry_core.towers.key_values import KeyValues, Prefix
from registry_core.towers.masks import from_torch


class LayerNorm(nn.LayerNorm):
    """Layer normalisation that computes in the dtype of its weight and returns the dtype of its input.

    A float32 norm in a half-precision model thus normalises in float32, and a model that was cast as a whole stays in
    its dtype.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension of `x` [..., C]."""
        wide = x.to(self.weight.dtype)
        return F.layer_norm(wide, self.normalized_shape, self.weight, self.bias, self.eps).to(x.dtype)


class QuickGELU(nn.Module):
    """The approximation of GELU that OpenAI's models were trained with: x * sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the activation to each element."""
        return x * torch.sigmoid(1.702 * x)


class LayerScale(nn.Module):
    """A learnt scale factor per channel (Touvron et al. 2021, https://arxiv.org/abs/2103.17239)."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))
        nn.init.constant_(self.gamma, initial)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the last dimension of `x` [..., C]."""
        return x * self.gamma.to(x.dtype)  # a float32 scale must not promote half-precision activations


@dataclass(frozen=True, slots=True)
class BlockOptions:
    """The options that all blocks of a tower share."""

    width: int
    heads: int
    mlp_ratio: float
    ls_init_value: float | None
    quick_gelu: bool
    norm: NormOptions
    act: ActivationOptions

    @classmethod
    def of(cls, config: VisionConfig | TextConfig, heads: int, *, quick_gelu: bool) -> BlockOptions:
        """Return the options that the config of a tower sets."""
        return cls(
            config.width,
            heads,
            config.mlp_ratio,
            config.ls_init_value,
            quick_gelu,
            config.norm_kwargs or NormOptions(),
            config.act_kwargs or ActivationOptions(),
        )

    def layer_norm(self) -> LayerNorm:
        """Return a normalisation layer of the tower's width."""
        return LayerNorm(self.width, eps=self.norm.eps)

    def activation(self) -> nn.Module:
        """Return the tower's activation."""
        return QuickGELU() if self.quick_gelu else nn.GELU(approximate=self.act.approximate)

    def mlp(self) -> nn.Sequential:
        """Return the perceptron of a block: two linear layers with the activation between them."""
        hidden = int(self.width * self.mlp_ratio)
        c_fc, c_proj = nn.Linear(self.width, hidden), nn.Linear(hidden, self.width)
        return nn.Sequential(OrderedDict(c_fc=c_fc, gelu=self.activation(), c_proj=c_proj))

    def layer_scale(self) -> nn.Module:
        """Return a layer scale, or the identity if the config sets no initial value."""
        return nn.Identity() if self.ls_init_value is None else LayerScale(self.width, self.ls_init_value)


def checked_heads(width: int, heads: int) -> int:
    """Return the number of heads, if it divides the width.

    Raises:
        BuildError: The number of heads does not divide the width.
    """
    if heads < 1 or width % heads:
        raise BuildError(
            f"An attention layer of width {width} cannot have {heads} heads: the width must be a multiple of the "
            "number of heads. Nothing was built.",
            expected=f"a divisor of {width}",
            found=heads,
            advice="Correct heads, head_width or attn_pooler_heads in the config.",
        )
    return heads


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values.

    Parameter names and initial distributions are those of torch.nn.MultiheadAttention, which the published models used.

    Attributes:
        num_heads: Number of heads. A new value takes effect.
        head_dim: Width of a head, D.
        embed_dim: Width of all heads together, C.
    """

    low_precision_parameters = ("in_proj_weight", "in_proj_bias")

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads = checked_heads(width, heads)
        self.embed_dim, self.head_dim = width, width // heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.in_proj_bias)
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, x: Tensor, *, causal: bool = False, mask: Tensor | None = None, cache: KeyValues | None = None
    ) -> Tensor:
        """[N, L, C] -> [N, L, C].

        Args:
            x: Tokens.
            causal: Let each token attend to itself and to the tokens before it.
            mask: Mask that replaces the causal one, True where a token (row) may attend to another (column). It is
                broadcast to [N, H, L, all tokens].
            cache: Keys and values of earlier tokens, which `x` attends to as well. Those of `x` are appended.
        """
        batch, length, width = x.shape
        projected = F.linear(x, self.in_proj_weight, self.in_proj_bias)  # [N, L, 3C]
        heads = (self.num_heads, width // self.num_heads)  # not -1, which is ambiguous for an empty batch
        query, key, value = projected.view(batch, length, 3, *heads).permute(2, 0, 3, 1, 4)  # [N, H, L, D] each
        if cache is not None:
            key, value = cache.extend(key, value)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal and mask is None)
        result: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return result


class ResidualAttentionBlock(nn.Module):
    """A pre-norm residual block: self-attention and a two-layer perceptron."""

    def __init__(self, options: BlockOptions) -> None:
        super().__init__()
        self.ln_1 = options.layer_norm()
        self.attn = Attention(options.width, options.heads)
        self.ls_1 = options.layer_scale()
        self.ln_2 = options.layer_norm()
        self.mlp = options.mlp()
        self.ls_2 = options.layer_scale()

    def forward(
        self,
        x: Tensor,
        *,
        causal: bool = False,
        mask: Tensor | None = None,
        cache: KeyValues | None = None,
        attn_mask: Tensor | None = None,
    ) -> Tensor:
        """[N, L, C] -> [N, L, C]. Options as in `Attention.forward`; `attn_mask` as in torch.nn.MultiheadAttention."""
        if attn_mask is not None:
            mask = from_torch(attn_mask, x)
        attended: Tensor = x + self.ls_1(self.attn(self.ln_1(x), causal=causal, mask=mask, cache=cache))
        result: Tensor = attended + self.ls_2(self.mlp(self.ln_2(attended)))
        return result


class Transformer(nn.Module):
    """A stack of residual blocks.

    Attributes:
        resblocks: The blocks, first to last. They may be replaced, wrapped or removed.
        batch_first: True; tokens are [N, L, C].
        grad_checkpointing: Whether the backward pass recomputes the activations of the blocks, instead of keeping them.
    """

    def __init__(self, options: BlockOptions, layers: int) -> None:
        super().__init__()
        self.width = options.width
        self.layers = layers
        self.batch_first = True
        self.grad_checkpointing = False
        self.resblocks = nn.ModuleList(ResidualAttentionBlock(options) for _ in range(layers))

    def blocks(self) -> list[ResidualAttentionBlock]:
        """Return the blocks, typed."""
        return [block for block in self.resblocks if isinstance(block, ResidualAttentionBlock)]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the blocks compute in."""
        attention = (module for block in self.resblocks for module in block.modules() if isinstance(module, Attention))
        first = next(attention, None)
        return next(self.parameters()).dtype if first is None else first.in_proj_weight.dtype

    def get_cast_dtype(self) -> torch.dtype:
        """Return `dtype`, under the name that programs for CLIP call."""
        return self.dtype

    def reset_for_text(self) -> None:
        """Initialise the blocks as in the text tower of CLIP. An image tower keeps torch's initial values."""
        width, deep = self.width, 2 * self.layers * self.width
        for block in self.blocks():
            nn.init.normal_(block.attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.attn.out_proj.weight, std=deep**-0.5)
            nn.init.normal_(block.mlp.get_parameter("c_fc.weight"), std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.get_parameter("c_proj.weight"), std=deep**-0.5)

    def run_block(
        self,
        index: int,
        x: Tensor,
        *,
        causal: bool = False,
        mask: Tensor | None = None,
        prefix: Prefix | None = None,
    ) -> Tensor:
        """Run one block on tokens [N, L, C], for towers that compute something between the blocks."""
        # Only options that are set are passed, so that a replaced block need not accept the others.
        given = {"causal": causal or None, "mask": mask, "cache": None if prefix is None else prefix.layers[index]}
        options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        block = self.resblocks[index]
        if self.grad_checkpointing and torch.is_grad_enabled():
            recomputed: Tensor = checkpoint(block, x, **options, use_reentrant=False)
            return recomputed
        result: Tensor = block(x, **options)
        return result

    def forward(
        self,
        x: Tensor,
        attn_mask: Tensor | None = None,
        *,
        causal: bool = False,
        mask: Tensor | None = None,
        prefix: Prefix | None = None,
    ) -> Tensor:
        """[N, L, C] -> [N, L, C].

        Args:
            x: Tokens.
            attn_mask: Mask as in torch.nn.MultiheadAttention, which replaces the next two: [L, L] or [N * H, L, L],
                added to the scores, or True for hidden tokens.
            causal: Let each token attend to itself and to the tokens before it.
            mask: Mask that replaces the causal one, True where a token (row) may attend to another (column).
            prefix: Key-value caches of the tokens that precede `x`. Without gradients only.
        """
        if attn_mask is not None:
            mask = from_torch(attn_mask, x)
        for index in range(len(self.resblocks)):
            x = self.run_block(index, x, causal=causal, mask=mask, prefix=prefix)
        return x
