"""Cross-attention: the attentional pooling of CoCa's image tower, and the blocks of its decoder.

Legend: N batch, L query tokens, K context tokens, C width of the queries, B width of the context, H heads, D width of a
head.
Sources: Yu et al. 2022, https://arxiv.org/abs/2205.01917; parameter names of
https://github.com/mlfoundations/open_clip.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from registry_core.towers.layers import BlockOptions, LayerNorm, checked_heads

KeysAndValues = tuple[Tensor, Tensor]


class CrossAttention(nn.Module):
    """Multi-head attention of query tokens to context tokens.

    Parameter names and initial distributions are those of torch.nn.MultiheadAttention. Queries, keys and values share
    one projection matrix if both sequences have the same width. Otherwise each has a matrix of its own.

    Args:
        width: Width of the query tokens and of the result, C.
        heads: Number of heads, H.
        context_width: Width of the context tokens, B.
    """

    low_precision_parameters = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias")

    def __init__(self, width: int, heads: int, context_width: int) -> None:
        super().__init__()
        self.num_heads = checked_heads(width, heads)
        self.packed = width == context_width
        if self.packed:
            self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
            nn.init.xavier_uniform_(self.in_proj_weight)
        else:
            self.q_proj_weight = nn.Parameter(torch.empty(width, width))
            self.k_proj_weight = nn.Parameter(torch.empty(width, context_width))
            self.v_proj_weight = nn.Parameter(torch.empty(width, context_width))
            for weight in (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
                nn.init.xavier_uniform_(weight)
        self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.zeros_(self.in_proj_bias)
        nn.init.zeros_(self.out_proj.bias)

    def _weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the projection matrices of queries, keys and values."""
        if self.packed:
            query, key, value = self.in_proj_weight.chunk(3)
            return query, key, value
        return self.q_proj_weight, self.k_proj_weight, self.v_proj_weight

    def _split_heads(self, x: Tensor) -> Tensor:
        """[N, L, C] -> [N, H, L, D]."""
        batch, length, width = x.shape
        return x.view(batch, length, self.num_heads, width // self.num_heads).transpose(1, 2)

    def keys_and_values(self, context: Tensor) -> KeysAndValues:
        """Context tokens [N, K, B] -> keys and values, [N, H, K, D] each."""
        _, *weights = self._weights()
        _, *biases = self.in_proj_bias.chunk(3)
        key, value = (
            self._split_heads(F.linear(context, weight, bias)) for weight, bias in zip(weights, biases, strict=True)
        )
        return key, value

    def forward(self, x: Tensor, keys_and_values: KeysAndValues) -> Tensor:
        """Query tokens [N, L, C] and the keys and values of the context -> [N, L, C].

        N may be a multiple of the batch of the keys. Then consecutive rows of `x` share a row of keys and values.
        """
        key, value = keys_and_values
        query = F.linear(x, self._weights()[0], self.in_proj_bias.chunk(3)[0])
        # Rows that share keys and values are joined to one row with more queries, so that nothing is copied.
        if key.shape[0]:
            query = query.reshape(key.shape[0], -1, x.shape[-1])
        query = self._split_heads(query)
        mixed = F.scaled_dot_product_attention(query, key, value)
        result: Tensor = self.out_proj(mixed.transpose(1, 2).reshape(x.shape))
        return result


class AttentionalPooler(nn.Module):
    """Learnt queries that attend to the tokens of an image tower (section 3.2).

    Args:
        width: Width of the queries and of the result, C.
        context_width: Width of the image tokens, B.
        heads: Number of heads, H.
        queries: Number of queries, L.
    """

    def __init__(self, width: int, context_width: int, heads: int, queries: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(queries, width))
        self.attn = CrossAttention(width, heads, context_width)
        self.ln_q = LayerNorm(width)
        self.ln_k = LayerNorm(context_width)
        nn.init.normal_(self.query)

    def forward(self, tokens: Tensor) -> Tensor:
        """Image tokens [N, K, B] -> pooled tokens [N, L, C]."""
        query = self.ln_q(self.query.to(tokens.dtype)).expand(tokens.shape[0], -1, -1)
        pooled: Tensor = self.attn(query, self.attn.keys_and_values(self.ln_k(tokens)))
        return pooled


class CrossAttentionBlock(nn.Module):
    """A pre-norm residual block: cross-attention and a two-layer perceptron."""

    def __init__(self, options: BlockOptions) -> None:
        super().__init__()
        self.ln_1 = options.layer_norm()
        self.attn = CrossAttention(options.width, options.heads, options.width)
        self.ls_1 = options.layer_scale()
        self.ln_1_kv = options.layer_norm()
        self.ln_2 = options.layer_norm()
        self.mlp = options.mlp()
        self.ls_2 = options.layer_scale()

    def keys_and_values(self, context: Tensor) -> KeysAndValues:
        """Context tokens [N, K, C] -> keys and values, [N, H, K, D] each."""
        return self.attn.keys_and_values(self.ln_1_kv(context))

    def attend(self, x: Tensor, keys_and_values: KeysAndValues) -> Tensor:
        """Query tokens [N, L, C] and the keys and values of the context -> [N, L, C]."""
        attended: Tensor = x + self.ls_1(self.attn(self.ln_1(x), keys_and_values))
        result: Tensor = attended + self.ls_2(self.mlp(self.ln_2(attended)))
        return result

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Query tokens [N, L, C] and context tokens [N, K, C] -> [N, L, C]."""
        return self.attend(x, self.keys_and_values(context))
