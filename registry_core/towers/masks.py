"""Attention masks in torch's form: numbers that are added to scores, or True for what is hidden.

Inside the towers a mask is True where a token (row) sees another (column). Programs that work with the layers of CLIP
know the form of torch.nn.MultiheadAttention, which the published models used.

Legend: N batch, L tokens, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from registry_core.errors import InputError

_ONE_FOR_ALL, _ONE_EACH = 2, 3  # dimensions


def additive_causal_mask(length: int, like: Tensor) -> Tensor:
    """[L, L], 0 where a token sees another and -inf elsewhere; dtype and device are those of `like`."""
    hidden = torch.full((length, length), float("-inf"), dtype=like.dtype, device=like.device)
    return hidden.triu(1)


def from_torch(attn_mask: Tensor, x: Tensor) -> Tensor:
    """A mask in torch's form -> one for scaled_dot_product_attention.

    Args:
        attn_mask: [L, L], or [N * H, L, L]; added to scores, or True for what is hidden.
        x: tokens [N, L, C], whose dtype the result has unless it is boolean.

    Returns:
        [L, L] or [N, H, L, L]; True where a token sees another, or numbers to add.

    Raises:
        InputError: another shape.
    """
    length = x.shape[1]
    fits = attn_mask.shape[-2:] == (length, length) and attn_mask.ndim in {_ONE_FOR_ALL, _ONE_EACH}
    if not fits or (attn_mask.ndim == _ONE_EACH and attn_mask.shape[0] % x.shape[0]):
        raise InputError(
            f"attn_mask has the shape {list(attn_mask.shape)}; expected [{length}, {length}], or one such for each "
            f"head of each row, for tokens of shape {list(x.shape)}. Nothing was computed. Tokens are [N, L, C]; do "
            "not swap their first two dimensions."
        )
    mask = ~attn_mask if attn_mask.dtype == torch.bool else attn_mask.to(x.dtype)
    return mask if mask.ndim == _ONE_FOR_ALL else mask.view(x.shape[0], -1, length, length)
