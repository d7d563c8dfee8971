"""Zero-shot classifiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from registry_core.zero_shot.prompts import Template, build_zero_shot_classifier

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = ["build_zero_shot_classifier", "build_zero_shot_classifier_legacy"]


def build_zero_shot_classifier_legacy(
    model: nn.Module,
    tokenizer: Callable[[list[str]], Tensor],
    classnames: Sequence[str],
    templates: Sequence[Template],
    device: str | torch.device | None = None,
    use_tqdm: bool = False,
) -> Tensor:
    """Return the same weights [E, classes] as `build_zero_shot_classifier`. Classes are encoded one at a time."""
    return build_zero_shot_classifier(model, tokenizer, classnames, templates, 1, device, use_tqdm)
