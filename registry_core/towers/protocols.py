"""What the core and the plugins expect of a tower and of a model with two towers.

Protocols, not base classes: a third party's classes need not derive from anything here. Every implementation is an
`nn.Module` in addition. This module does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn


class Trainable(Protocol):
    """What a training program expects of a tower and of a model."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """As in `nn.Module`."""
        ...

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """As in `nn.Module`."""
        ...

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute activations in the backward pass, which saves memory and costs time."""
        ...

    def no_weight_decay(self) -> set[str]:
        """Return the names of the parameters that optimisers exclude from weight decay."""
        ...


class Tower(Trainable, Protocol):
    """What the image tower and the text tower of a model have in common."""


class ImageTower(Tower, Protocol):
    """An image tower: images [N, 3, height, width] -> features [N, E], or (features, tokens)."""

    @property
    def image_size(self) -> int | tuple[int, int]:
        """Height and width of the images in pixels; one number stands for both."""
        ...

    def __call__(self, image: Tensor) -> Any:
        """Encode images."""
        ...

    def lock(self, unlocked_groups: int = 0, freeze_bn_stats: bool = False) -> None:
        """Freeze all but the last groups of parameters."""
        ...


class TextTower(Tower, Protocol):
    """A text tower: token ids [N, L] -> features [N, E], or (features, tokens)."""

    @property
    def vocab_size(self) -> int:
        """The number of token ids that have an embedding."""
        ...

    def __call__(self, text: Tensor) -> Any:
        """Encode texts."""
        ...

    def lock(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Freeze all but the last layers."""
        ...


class TwoTowerModel(Protocol):
    """A model whose images and texts meet in one embedding space."""

    @property
    def visual(self) -> ImageTower:
        """The image tower. It is absent if the model was created with tower="text"."""
        ...

    @property
    def logit_scale(self) -> Tensor:
        """The logarithm of the factor between cosine similarities and logits."""
        ...

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Encode images [N, 3, height, width] as features [N, E]."""
        ...

    def encode_text(self, text: Tensor, normalize: bool = False) -> Tensor:
        """Encode token ids [N, L] as features [N, E]."""
        ...


class TrainableModel(TwoTowerModel, Trainable, Protocol):
    """A model of two towers with the methods that open_clip's training program calls."""

    def lock_image_tower(self, unlocked_groups: int = 0, freeze_bn_stats: bool = False) -> None:
        """Freeze all but the last groups of the image tower."""
        ...

    def lock_text_tower(self, unlocked_layers: int = 0, freeze_layer_norm: bool = True) -> None:
        """Freeze all but the last layers of the text tower."""
        ...
