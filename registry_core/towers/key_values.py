"""What causal blocks keep of the tokens they have seen, so that a text can grow token by token.

Legend: N texts, L tokens, H heads, D width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor


class KeyValues:
    """Keys and values [N, H, L, D] that one attention layer has computed. Empty at first."""

    def __init__(self) -> None:
        self._held: tuple[Tensor, Tensor] | None = None

    def extend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add those of further tokens, and return all."""
        if self._held is not None:
            key, value = torch.cat([self._held[0], key], dim=2), torch.cat([self._held[1], value], dim=2)
        self._held = key, value
        return self._held

    def take(self, rows: Tensor) -> None:
        """Keep the texts of these numbers, in this order; a number may repeat."""
        if self._held is not None:
            self._held = self._held[0].index_select(0, rows), self._held[1].index_select(0, rows)


class Prefix:
    """The beginning of some texts, as a stack of blocks keeps it.

    Args:
        layers: how many blocks there are.

    Attributes:
        layers: keys and values of each block.
        length: tokens seen, L.
        visible: [N, 1 + L], whether the token at a place may be seen; None while all may.
    """

    def __init__(self, layers: int) -> None:
        self.layers = [KeyValues() for _ in range(layers)]
        self.length = 0
        self.visible: Tensor | None = None

    def take(self, rows: Tensor) -> None:
        """Keep the texts of these numbers, in this order; a number may repeat."""
        for layer in self.layers:
            layer.take(rows)
        if self.visible is not None:
            self.visible = self.visible.index_select(0, rows)


def causal_mask(new: int, total: int, device: torch.device) -> Tensor:
    """[new, total], True where the last `new` of `total` tokens see themselves and those before them."""
    return torch.ones(new, total, dtype=torch.bool, device=device).tril(total - new)
