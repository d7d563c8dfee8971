"""The next token of growing texts, over images that were encoded once.

Keys and values of the images and of a text's earlier tokens are kept where that is exact. In a causal text tower the
tokens of a text do not change when other tokens follow. The class token of such a tower comes after the text, where no
token sees it, and is not computed at all. If the tokens of a text tower see later ones, the tower runs over the whole
text in each step, and only the keys and values of the images are kept.
"""

from __future__ import annotations

from torch import Tensor

from registry_core import TextTower
from registry_core.towers import MultimodalTransformer, Prefix, TextTransformer


class NextToken:
    """The logits of the next token.

    Args:
        decoder: The text decoder.
        text_tower: The text tower, which returns features and tokens.
        image_tokens: Tokens of the images, [N, K, C].
        window: Number of last tokens of a text that the model sees.
    """

    def __init__(
        self, decoder: MultimodalTransformer, text_tower: TextTower, image_tokens: Tensor, window: int
    ) -> None:
        self._decoder = decoder
        self._text_tower = text_tower
        self._window = window
        self._image_keys = decoder.image_keys(image_tokens)
        self._causal_tower = text_tower if isinstance(text_tower, TextTransformer) and text_tower.causal else None
        self._text_prefix = Prefix(0 if self._causal_tower is None else self._causal_tower.transformer.layers)
        self._decoder_prefix = Prefix(decoder.layers)

    def logits(self, ids: Tensor) -> Tensor:
        """Return float32 logits [R, V] of the token after each text of `ids` [R, L]; R is a multiple of the images.

        The texts are those of the last call, in the order of the last `take`, with tokens added.
        """
        # A window that moves gives every token another position, so nothing that was kept is valid.
        if self._causal_tower is None or ids.shape[1] > self._window:
            tokens = self._text_tower(ids[:, -self._window :])[1]
            return self._decoder.extend(tokens, self._image_keys, Prefix(self._decoder.layers)).float()
        tokens = self._causal_tower.extend_tokens(ids[:, self._text_prefix.length :], self._text_prefix)
        return self._decoder.extend(tokens, self._image_keys, self._decoder_prefix).float()

    def take(self, rows: Tensor) -> None:
        """Continue with the texts of these row numbers, in this order. Each text stays with its image."""
        self._text_prefix.take(rows)
        self._decoder_prefix.take(rows)
