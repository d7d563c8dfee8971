"""Growing texts over pictures that were encoded once.

What a text's tokens and the pictures contributed is kept, as far as that is exact: a causal text tower's tokens do not
change when others follow. Its class token comes after the text, where no token sees it, and is not computed at all. A
text tower in which tokens see later ones is run over the whole text each time; the pictures' part is kept even then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from registry_core.towers.key_values import Prefix
from registry_core.towers.text_transformer import TextTransformer

if TYPE_CHECKING:
    from .model import CoCa


class NextToken:
    """The logits of the token that comes next.

    Args:
        model: with its decoder.
        image_tokens: of the pictures, [N, K, C].
        window: how many of a text's last tokens the model looks at.
    """

    def __init__(self, model: CoCa, image_tokens: Tensor, window: int) -> None:
        self._decoder = model.text_decoder
        self._text = model.text
        self._window = window
        self._image_keys = self._decoder.image_keys(image_tokens)
        self._growing = self._text if isinstance(self._text, TextTransformer) and self._text.causal else None
        self._text_prefix = Prefix(0 if self._growing is None else self._growing.transformer.layers)
        self._decoder_prefix = Prefix(self._decoder.layers)

    def logits(self, ids: Tensor) -> Tensor:
        """Texts [R, L], R a multiple of the pictures -> float32 logits [R, V] of what comes after each.

        The texts are those of the last call, in the order of the last `take`, with tokens added.
        """
        # Once the window moves, every token has another place and nothing can be kept.
        if self._growing is None or ids.shape[1] > self._window:
            tokens = self._text(ids[:, -self._window :])[1]
            return self._decoder.extend(tokens, self._image_keys, Prefix(self._decoder.layers)).float()
        tokens = self._growing.extend_tokens(ids[:, self._text_prefix.length :], self._text_prefix)
        return self._decoder.extend(tokens, self._image_keys, self._decoder_prefix).float()

    def take(self, rows: Tensor) -> None:
        """Go on with the texts of these numbers, in this order; texts stay with their picture."""
        self._text_prefix.take(rows)
        self._decoder_prefix.take(rows)
