"""Attention to another sequence: the pooling of CoCa's image tower, and the blocks of its decoder.

Legend: N batch, L tokens, K tokens of the other sequence, C width, B its width, H heads, D width of a head.
Sources: Yu et al. 2022, https://arxiv.org/abs/2205.01917; parameter names of
https://github.com/mlfoundations/open_clip.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from registry_core.towers.layers import BlockOptions, LayerNorm, checked_heads

Pair = tuple[Tensor, Tensor]


class CrossAttention(nn.Module):
    """Multi-head attention of one sequence to another.

    Names and initial distributions are those of torch.nn.MultiheadAttention: one projection for queries, keys and
    values where both sequences are of one width, else one each.

    Args:
        width: of the sequence that asks, C.
        heads: H.
        other: width of the sequence that answers, B.
    """

    low_precision_parameters = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias")

    def __init__(self, width: int, heads: int, other: int) -> None:
        super().__init__()
        self.num_heads = checked_heads(width, heads)
        self.packed = width == other
        if self.packed:
            self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
            nn.init.xavier_uniform_(self.in_proj_weight)
        else:
            self.q_proj_weight = nn.Parameter(torch.empty(width, width))
            self.k_proj_weight = nn.Parameter(torch.empty(width, other))
            self.v_proj_weight = nn.Parameter(torch.empty(width, other))
            for weight in (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
                nn.init.xavier_uniform_(weight)
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.zeros_(self.in_proj_bias)
        nn.init.zeros_(self.out_proj.bias)

    def _weights(self) -> tuple[Tensor, Tensor, Tensor]:
        if self.packed:
            query, key, value = self.in_proj_weight.chunk(3)
            return query, key, value
        return self.q_proj_weight, self.k_proj_weight, self.v_proj_weight

    def _split(self, x: Tensor) -> Tensor:
        """[N, L, C] -> [N, H, L, D]."""
        batch, length, width = x.shape
        return x.view(batch, length, self.num_heads, width // self.num_heads).transpose(1, 2)

    def keys(self, context: Tensor) -> Pair:
        """[N, K, B] -> keys and values, [N, H, K, D] each."""
        _, *weights = self._weights()
        _, *biases = self.in_proj_bias.chunk(3)
        key, value = (
            self._split(F.linear(context, weight, bias)) for weight, bias in zip(weights, biases, strict=True)
        )
        return key, value

    def forward(self, x: Tensor, keys: Pair) -> Tensor:
        """[N, L, C] and `keys` of the other sequence -> [N, L, C].

        Neighbouring rows of `x` may share one row of `keys`: then N is a multiple of the keys' batch.
        """
        key, value = keys
        query = F.linear(x, self._weights()[0], self.in_proj_bias.chunk(3)[0])
        # Rows that share their keys are so many more queries to them: nothing is copied.
        if key.shape[0]:
            query = query.reshape(key.shape[0], -1, x.shape[-1])
        query = self._split(query)
        mixed = F.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(x.shape))
        return result


class AttentionalPooler(nn.Module):
    """Learnt queries that attend to the tokens of an image tower (section 3.2).

    Args:
        width: of the queries and of the result, C.
        context: width of the tokens, B.
        heads: H.
        queries: how many, L.
    """

    def __init__(self, width: int, context: int, heads: int, queries: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(queries, width))
        self.attn = CrossAttention(width, heads, context)
        self.ln_q = LayerNorm(width)
        self.ln_k = LayerNorm(context)
        nn.init.normal_(self.query)

    def forward(self, tokens: Tensor) -> Tensor:
        """[N, K, B] -> [N, L, C]."""
        query = self.ln_q(self.query.to(tokens.dtype)).expand(tokens.shape[0], -1, -1)
        pooled: Tensor = self.attn(query, self.attn.keys(self.ln_k(tokens)))
        return pooled


class CrossAttentionBlock(nn.Module):
    """Attention to another sequence and a two-layer perceptron, each behind a norm and added to its input."""

    def __init__(self, options: BlockOptions) -> None:
        super().__init__()
        self.ln_1 = options.layer_norm()
        self.attn = CrossAttention(options.width, options.heads, options.width)
        self.ls_1 = options.layer_scale()
        self.ln_1_kv = options.layer_norm()
        self.ln_2 = options.layer_norm()
        self.mlp = options.perceptron()
        self.ls_2 = options.layer_scale()

    def keys(self, context: Tensor) -> Pair:
        """[N, K, C] -> keys and values, [N, H, K, D] each."""
        return self.attn.keys(self.ln_1_kv(context))

    def attend(self, x: Tensor, keys: Pair) -> Tensor:
        """[N, L, C] and `keys` of the other sequence -> [N, L, C]."""
        attended: Tensor = x + self.ls_1(self.attn(self.ln_1(x), keys))
        result: Tensor = attended + self.ls_2(self.mlp(self.ln_2(attended)))
        return result

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """[N, L, C] and the other sequence [N, K, C] -> [N, L, C]."""
        return self.attend(x, self.keys(context))
