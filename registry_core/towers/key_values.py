"""The key-value cache of causal attention, for texts that are generated token by token.

Legend: N texts, L tokens, H heads, D width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor


class KeyValues:
    """The keys and values [N, H, L, D] that one attention layer has computed. Empty at first."""

    def __init__(self) -> None:
        self._cached: tuple[Tensor, Tensor] | None = None

    def extend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Append the keys and values of further tokens, and return those of all tokens."""
        if self._cached is not None:
            key, value = torch.cat([self._cached[0], key], dim=2), torch.cat([self._cached[1], value], dim=2)
        self._cached = key, value
        return self._cached

    def take(self, rows: Tensor) -> None:
        """Keep the texts with these row indices, in this order. An index may repeat."""
        if self._cached is not None:
            self._cached = self._cached[0].index_select(0, rows), self._cached[1].index_select(0, rows)


class Prefix:
    """The beginning of some texts, as the key-value caches of a stack of blocks.

    Args:
        layers: Number of blocks.

    Attributes:
        layers: The key-value cache of each block.
        length: The number of tokens so far, L.
        visible: [N, 1 + L], whether other tokens may attend to the token at a position. None means that they may
            attend to all of them.
    """

    def __init__(self, layers: int) -> None:
        self.layers = [KeyValues() for _ in range(layers)]
        self.length = 0
        self.visible: Tensor | None = None

    def take(self, rows: Tensor) -> None:
        """Keep the texts with these row indices, in this order. An index may repeat."""
        for layer in self.layers:
            layer.take(rows)
        if self.visible is not None:
            self.visible = self.visible.index_select(0, rows)


def causal_mask(new: int, total: int, device: torch.device) -> Tensor:
    """Return [new, total], True where each of the last `new` tokens sees itself and the tokens before it."""
    return torch.ones(new, total, dtype=torch.bool, device=device).tril(total - new)
