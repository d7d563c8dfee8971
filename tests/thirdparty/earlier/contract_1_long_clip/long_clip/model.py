"""The Long-CLIP module; parameter names of https://github.com/beichenzbc/Long-CLIP."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from registry_core.towers.contrastive import ContrastiveModel
from registry_core.towers.text_transformer import TextLayers

from .config import KEPT, LongClipConfig


class LongCLIP(ContrastiveModel, TextLayers):
    """A CLIP with two tables of text positions, each of full length.

    The first counts for the leading positions, the other for the rest, so that training moves only the latter.

    Args:
        config: the model's config.
        tower: "image" or "text" leaves the other tower out; None builds both.
    """

    def __init__(self, config: LongClipConfig, tower: str | None = None) -> None:
        super().__init__(config, tower)
        if tower != "image":
            self.add_text_layers(config.text_cfg, config.embed_dim, quick_gelu=config.quick_gelu)
            self.positional_embedding_res = nn.Parameter(torch.empty_like(self.positional_embedding))
            nn.init.normal_(self.positional_embedding_res, std=0.01)
        self.add_logit_parameters()

    def positions(self, length: int) -> Tensor:
        """Embeddings [L, C] of the first `length` positions."""
        return torch.cat([self.positional_embedding[: min(length, KEPT)], self.positional_embedding_res[KEPT:length]])

    def text_features(self, text: Tensor) -> Tensor:
        """Token ids [N, L], L up to 248 -> features [N, E]."""
        return self.encode_tokens(text)[0]
