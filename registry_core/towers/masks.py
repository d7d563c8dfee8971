"""Attention masks in the convention of torch.nn.MultiheadAttention: scores to add, or True for hidden tokens.

Inside the towers a boolean mask is True where a token (row) may attend to another (column), as in
scaled_dot_product_attention. Programs that work with the layers of CLIP use the convention of
torch.nn.MultiheadAttention, because the published models used that module.

Legend: N batch, L tokens, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from registry_core.errors import InputError

_SHARED_NDIM, _PER_HEAD_NDIM = 2, 3


def additive_causal_mask(length: int, like: Tensor) -> Tensor:
    """Return [L, L], 0 where a token may attend to another and -inf elsewhere, with dtype and device of `like`."""
    hidden = torch.full((length, length), float("-inf"), dtype=like.dtype, device=like.device)
    return hidden.triu(1)


def from_torch(attn_mask: Tensor, x: Tensor) -> Tensor:
    """Convert a mask of torch.nn.MultiheadAttention to one for scaled_dot_product_attention.

    Args:
        attn_mask: [L, L] or [N * H, L, L]; added to the scores, or True for hidden tokens.
        x: Tokens [N, L, C]. A mask that is not boolean gets their dtype.

    Returns:
        [L, L] or [N, H, L, L]; True where a token may attend to another, or scores to add.

    Raises:
        InputError: The mask has another shape.
    """
    length = x.shape[1]
    fits = attn_mask.shape[-2:] == (length, length) and attn_mask.ndim in {_SHARED_NDIM, _PER_HEAD_NDIM}
    if not fits or (attn_mask.ndim == _PER_HEAD_NDIM and attn_mask.shape[0] % x.shape[0]):
        raise InputError(
            f"attn_mask has the shape {list(attn_mask.shape)}; expected [{length}, {length}], or one such mask for "
            f"each head of each row, for tokens of shape {list(x.shape)}. Nothing was computed.",
            argument="attn_mask",
            expected=[length, length],
            found=list(attn_mask.shape),
            advice="Tokens are [N, L, C]; do not swap their first two dimensions.",
        )
    mask = ~attn_mask if attn_mask.dtype == torch.bool else attn_mask.to(x.dtype)
    return mask if mask.ndim == _SHARED_NDIM else mask.view(x.shape[0], -1, length, length)
