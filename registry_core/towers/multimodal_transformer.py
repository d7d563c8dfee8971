"""The decoder of CoCa: from the tokens of a picture and of a text's beginning to the token that comes next.

Yu et al. 2022, https://arxiv.org/abs/2205.01917, section 3.2; parameter names of
https://github.com/mlfoundations/open_clip.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from registry_core.towers.cross_attention import CrossAttentionBlock, Pair
from registry_core.towers.key_values import Prefix, causal_mask
from registry_core.towers.layers import BlockOptions, ResidualAttentionBlock


class MultimodalTransformer(nn.Module):
    """Blocks of causal self-attention, each followed by one of attention to the picture.

    Args:
        options: of the blocks.
        layers: how many pairs of blocks.
        vocab_size: width of the result, V.

    Attributes:
        grad_checkpointing: recompute the blocks in the backward pass instead of keeping their activations.
    """

    low_precision_parameters = ("text_projection",)

    def __init__(self, options: BlockOptions, layers: int, vocab_size: int) -> None:
        super().__init__()
        self.width = options.width
        self.layers = layers
        self.vocab_size = vocab_size
        self.grad_checkpointing = False
        self.resblocks = nn.ModuleList(ResidualAttentionBlock(options) for _ in range(layers))
        self.cross_attn = nn.ModuleList(CrossAttentionBlock(options) for _ in range(layers))
        self.ln_final = options.layer_norm()
        self.text_projection = nn.Parameter(torch.empty(options.width, vocab_size))
        # The published training code names other values for the blocks, and applies them never: they keep torch's own.
        # The projection it leaves unwritten; this is the value that it names.
        nn.init.normal_(self.text_projection, std=self.width**-0.5)

    def forward(self, image_embs: Tensor, text_embs: Tensor) -> Tensor:
        """Tokens of pictures [N, K, C] and texts [N, L, C] -> logits of each next token [N, L, V]."""
        x = text_embs
        for block, cross in zip(self.resblocks, self.cross_attn, strict=True):
            if self.grad_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, causal=True, use_reentrant=False)
                x = checkpoint(cross, x, image_embs, use_reentrant=False)
            else:
                x = cross(block(x, causal=True), image_embs)
        return self.head(x)

    def head(self, x: Tensor) -> Tensor:
        """[..., C] after the blocks -> logits [..., V]."""
        logits: Tensor = self.ln_final(x) @ self.text_projection
        return logits

    def image_keys(self, image_embs: Tensor) -> list[Pair]:
        """Tokens of pictures [N, K, C] -> what each cross-attention block needs of them, to be computed once."""
        return [cross.keys(image_embs) for cross in self._cross_blocks()]

    def extend(self, text_embs: Tensor, image_keys: list[Pair], prefix: Prefix) -> Tensor:
        """Logits [N, V] of the token after `text_embs` [N, L, C], which come after those that `prefix` keeps.

        Args:
            text_embs: the texts' further tokens; N may be a multiple of the number of pictures.
            image_keys: of the pictures.
            prefix: the texts' earlier tokens; these are added to it.
        """
        x, new = text_embs, text_embs.shape[1]
        prefix.length += new
        mask = causal_mask(new, prefix.length, x.device) if new > 1 else None
        blocks = zip(self.resblocks, self._cross_blocks(), image_keys, prefix.layers, strict=True)
        for block, cross, keys, seen in blocks:
            x = cross.attend(block(x, mask=mask, seen=seen), keys)
        return self.head(x[:, -1])

    def _cross_blocks(self) -> list[CrossAttentionBlock]:
        return [cross for cross in self.cross_attn if isinstance(cross, CrossAttentionBlock)]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Trade time for memory in training."""
        self.grad_checkpointing = enable
