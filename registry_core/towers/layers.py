"""The pieces of the native towers: pre-norm residual transformer blocks.

Legend: N batch, L tokens, C width, H heads, D width of a head.
Sources: Radford et al. 2021, https://arxiv.org/abs/2103.00020 and https://github.com/openai/CLIP;
https://github.com/mlfoundations/open_clip for the options beyond it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from registry_core.config import ActivationOptions, NormOptions, TextConfig, VisionConfig
from registry_core.errors import BuildError
from registry_core.towers.key_values import KeyValues, Prefix
from registry_core.towers.masks import from_torch


class LayerNorm(nn.LayerNorm):
    """Layer normalisation in the dtype of its own weight, returned in the input's.

    So a float32 norm in a half-precision model normalises in float32, and a model cast as a whole stays in its dtype.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension of `x` [..., C]."""
        wide = x.to(self.weight.dtype)
        return F.layer_norm(wide, self.normalized_shape, self.weight, self.bias, self.eps).to(x.dtype)


class QuickGELU(nn.Module):
    """GELU by a sigmoid, as OpenAI's models were trained: x * sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return x * torch.sigmoid(1.702 * x)


class LayerScale(nn.Module):
    """A learnt factor per channel (Touvron et al. 2021, https://arxiv.org/abs/2103.17239)."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(width))
        nn.init.constant_(self.gamma, initial)

    def forward(self, x: Tensor) -> Tensor:
        """Scale the last dimension of `x` [..., C]."""
        return x * self.gamma.to(x.dtype)  # else a float32 scale would widen what half-precision layers take


@dataclass(frozen=True, slots=True)
class BlockOptions:
    """What the blocks of one tower have in common."""

    width: int
    heads: int
    mlp_ratio: float
    ls_init_value: float | None
    quick_gelu: bool
    norm: NormOptions
    act: ActivationOptions

    @classmethod
    def of(cls, config: VisionConfig | TextConfig, heads: int, *, quick_gelu: bool) -> BlockOptions:
        """The options that a tower's config names."""
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
        """A normalisation layer of the tower's width."""
        return LayerNorm(self.width, eps=self.norm.eps)

    def activation(self) -> nn.Module:
        """The tower's activation."""
        return QuickGELU() if self.quick_gelu else nn.GELU(approximate=self.act.approximate)

    def perceptron(self) -> nn.Sequential:
        """The two layers of a block, with the activation between them."""
        hidden = int(self.width * self.mlp_ratio)
        c_fc, c_proj = nn.Linear(self.width, hidden), nn.Linear(hidden, self.width)
        return nn.Sequential(OrderedDict(c_fc=c_fc, gelu=self.activation(), c_proj=c_proj))

    def layer_scale(self) -> nn.Module:
        """Layer scale, or nothing where the config sets no initial value."""
        return nn.Identity() if self.ls_init_value is None else LayerScale(self.width, self.ls_init_value)


def checked_heads(width: int, heads: int) -> int:
    """The number of heads.

    Raises:
        BuildError: they cannot share the width equally.
    """
    if heads < 1 or width % heads:
        raise BuildError(
            f"An attention of width {width} cannot have {heads} heads: they share its width equally. Nothing was "
            "built. Correct heads, head_width or attn_pooler_heads in the config."
        )
    return heads


class Attention(nn.Module):
    """Multi-head self-attention with one projection for queries, keys and values.

    Names and initial distributions are those of torch.nn.MultiheadAttention, which the published models used.

    Attributes:
        num_heads: how many heads; it holds when it is set.
        head_dim: width of one.
        embed_dim: width of all, C.
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
        self, x: Tensor, *, causal: bool = False, mask: Tensor | None = None, seen: KeyValues | None = None
    ) -> Tensor:
        """[N, L, C] -> [N, L, C].

        Args:
            x: tokens.
            causal: each token sees itself and those before it.
            mask: instead, True where a token (row) sees another (column); broadcast to [N, H, L, all tokens].
            seen: earlier tokens, which `x` sees too and is added to.
        """
        batch, length, width = x.shape
        projected = F.linear(x, self.in_proj_weight, self.in_proj_bias)  # [N, L, 3C]
        heads = (self.num_heads, width // self.num_heads)  # no -1: it is ambiguous where there are no tokens
        query, key, value = projected.view(batch, length, 3, *heads).permute(2, 0, 3, 1, 4)  # [N, H, L, D] each
        if seen is not None:
            key, value = seen.extend(key, value)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal and mask is None)
        result: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(batch, length, width))
        return result


class ResidualAttentionBlock(nn.Module):
    """Attention and a two-layer perceptron, each behind a norm and added to its input."""

    def __init__(self, options: BlockOptions) -> None:
        super().__init__()
        self.ln_1 = options.layer_norm()
        self.attn = Attention(options.width, options.heads)
        self.ls_1 = options.layer_scale()
        self.ln_2 = options.layer_norm()
        self.mlp = options.perceptron()
        self.ls_2 = options.layer_scale()

    def forward(
        self,
        x: Tensor,
        *,
        causal: bool = False,
        mask: Tensor | None = None,
        seen: KeyValues | None = None,
        attn_mask: Tensor | None = None,
    ) -> Tensor:
        """[N, L, C] -> [N, L, C]; the options are the attention's, and `attn_mask` is a mask in torch's form."""
        if attn_mask is not None:
            mask = from_torch(attn_mask, x)
        attended: Tensor = x + self.ls_1(self.attn(self.ln_1(x), causal=causal, mask=mask, seen=seen))
        result: Tensor = attended + self.ls_2(self.mlp(self.ln_2(attended)))
        return result


class Transformer(nn.Module):
    """A stack of residual blocks.

    Attributes:
        resblocks: the blocks, first to last; they may be exchanged, wrapped or shortened.
        batch_first: true; tokens are [N, L, C].
        grad_checkpointing: recompute the blocks in the backward pass instead of keeping their activations.
    """

    def __init__(self, options: BlockOptions, layers: int) -> None:
        super().__init__()
        self.width = options.width
        self.layers = layers
        self.batch_first = True
        self.grad_checkpointing = False
        self.resblocks = nn.ModuleList(ResidualAttentionBlock(options) for _ in range(layers))

    def blocks(self) -> list[ResidualAttentionBlock]:
        """The blocks, with their type."""
        return [block for block in self.resblocks if isinstance(block, ResidualAttentionBlock)]

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the blocks compute in."""
        attention = (module for block in self.resblocks for module in block.modules() if isinstance(module, Attention))
        first = next(attention, None)
        return next(self.parameters()).dtype if first is None else first.in_proj_weight.dtype

    def get_cast_dtype(self) -> torch.dtype:
        """The same, under the name that programs for CLIP call."""
        return self.dtype

    def reset_for_text(self) -> None:
        """Initial values of the text tower; the image tower keeps torch's own."""
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
        """One block on `x` [N, L, C]; for towers that do something between the blocks."""
        # Only what is said is passed on: a block that stands in for one of these need not know the other options.
        said = {"causal": causal or None, "mask": mask, "seen": None if prefix is None else prefix.layers[index]}
        options: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
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
            x: tokens.
            attn_mask: a mask in torch's form, instead of the next two: [L, L] or [N * H, L, L], added to scores, or
                True for what is hidden.
            causal: each token sees itself and those before it.
            mask: instead, True where a token (row) sees another (column).
            prefix: what the blocks keep of earlier tokens; `x` continues them. Without gradients only.
        """
        if attn_mask is not None:
            mask = from_torch(attn_mask, x)
        for index in range(len(self.resblocks)):
            x = self.run_block(index, x, causal=causal, mask=mask, prefix=prefix)
        return x
