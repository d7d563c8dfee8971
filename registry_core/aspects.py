"""What a model tells of a picture: its content, and whatever else its architecture brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

CONTENT = "content"


@dataclass(frozen=True, slots=True)
class PictureAspects:
    """The features of pictures, an aspect each, and what their values are called.

    Attributes:
        features: pictures [N, 3, height, width] -> aspect -> normalised features [N, E]; "content" is one of them.
        labels: aspect -> texts that it is compared with; the caller gives those of the content.
    """

    features: Callable[[Tensor], Mapping[str, Tensor]]
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
