"""The decoder of CoCa: tokens of an image and of the beginning of a text -> logits of the next token.

Yu et al. 2022, https://arxiv.org/abs/2205.01917, section 3.2; parameter names of
https://github.com/mlfoundations/open_clip.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from registry_core.towers.cross_attention import CrossAttentionBlock, KeysAndValues
from registry_core.towers.key_values import Prefix, causal_mask
from registry_core.towers.layers import BlockOptions, ResidualAttentionBlock


class MultimodalTransformer(nn.Module):
    """Blocks of causal self-attention, each followed by a block of cross-attention to the image.

    Args:
        options: Options of the blocks.
        layers: Number of pairs of blocks.
        vocab_size: Width of the result, V.

    Attributes:
        grad_checkpointing: Whether the backward pass recomputes the activations of the blocks, instead of keeping them.
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
        # open_clip defines other initial values for the blocks but never applies them, so the blocks keep torch's own.
        # It leaves the projection uninitialised; this is the value that it defines for it.
        nn.init.normal_(self.text_projection, std=self.width**-0.5)

    def forward(self, image_embs: Tensor, text_embs: Tensor) -> Tensor:
        """Tokens of images [N, K, C] and of texts [N, L, C] -> logits of each next token [N, L, V]."""
        x = text_embs
        for block, cross in zip(self.resblocks, self.cross_attn, strict=True):
            if self.grad_checkpointing and torch.is_grad_enabled():
                x = checkpoint(block, x, causal=True, use_reentrant=False)
                x = checkpoint(cross, x, image_embs, use_reentrant=False)
            else:
                x = cross(block(x, causal=True), image_embs)
        return self.head(x)

    def head(self, x: Tensor) -> Tensor:
        """Output of the blocks [..., C] -> logits [..., V]."""
        logits: Tensor = self.ln_final(x) @ self.text_projection
        return logits

    def image_keys(self, image_embs: Tensor) -> list[KeysAndValues]:
        """Tokens of images [N, K, C] -> keys and values for each cross-attention block, to be computed once."""
        return [cross.keys_and_values(image_embs) for cross in self._cross_blocks()]

    def extend(self, text_embs: Tensor, image_keys: list[KeysAndValues], prefix: Prefix) -> Tensor:
        """Append tokens to the prefix of some texts, and return the logits [N, V] of the next token.

        Args:
            text_embs: Further tokens [N, L, C]. N may be a multiple of the number of images.
            image_keys: Keys and values of the images.
            prefix: Key-value caches of the tokens that precede `text_embs`. They are extended.
        """
        x, new = text_embs, text_embs.shape[1]
        prefix.length += new
        mask = causal_mask(new, prefix.length, x.device) if new > 1 else None
        blocks = zip(self.resblocks, self._cross_blocks(), image_keys, prefix.layers, strict=True)
        for block, cross, keys, cache in blocks:
            x = cross.attend(block(x, mask=mask, cache=cache), keys)
        return self.head(x[:, -1])

    def _cross_blocks(self) -> list[CrossAttentionBlock]:
        return [cross for cross in self.cross_attn if isinstance(cross, CrossAttentionBlock)]

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in the backward pass, which saves memory and costs time."""
        self.grad_checkpointing = enable
