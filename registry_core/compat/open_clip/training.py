"""What training programs ask for beside models: a loss, and a checkpoint into a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from registry_core import OverrideError, registry

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["IncompatibleKeys", "create_loss", "load_checkpoint"]


def create_loss(args: Any) -> nn.Module:
    """The loss that a training program's arguments ask for.

    Args:
        args: `model` is the model's name, and chooses by its plugin; `distill` and `siglip` overrule it. Further
            those of `registry.loss`, `coca_caption_loss_weight` and `coca_contrastive_loss_weight`.

    Raises:
        RegistryError: the name leads nowhere, or the arguments do not fit together.
    """
    said = {
        "rank": "rank", "world_size": "world_size", "local_loss": "local_loss", "gather_with_grad": "gather_with_grad",
        "dist_impl": "loss_dist_impl",
    }  # fmt: skip
    given = {key: getattr(args, name) for key, name in said.items() if getattr(args, name, None) is not None}
    if getattr(args, "horovod", False):
        raise OverrideError(
            "horovod is not supported by the losses. No loss was made. Train under torch.distributed (torchrun)."
        )
    loss = registry.loss(
        args.model,
        distill=bool(getattr(args, "distill", False)),
        sigmoid=True if getattr(args, "siglip", False) else None,
        cache_labels=True,
        **given,
    )
    for weight, name in _WEIGHTS_OF_LOSSES.items():
        if hasattr(loss, weight) and hasattr(args, name):
            setattr(loss, weight, getattr(args, name))
    return loss


# A loss that weighs its parts -> the training program's name for it.
_WEIGHTS_OF_LOSSES = {
    "caption_loss_weight": "coca_caption_loss_weight",
    "clip_loss_weight": "coca_contrastive_loss_weight",
}


class IncompatibleKeys(NamedTuple):
    """What a checkpoint and a model do not share."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_checkpoint(
    model: nn.Module,
    checkpoint_path: str | Path,
    strict: bool = True,
    weights_only: bool = True,
    device: str | torch.device = "cpu",
) -> IncompatibleKeys:
    """Read a checkpoint into a model, where it is; layouts of other libraries are converted.

    Args:
        model: that the registry made.
        checkpoint_path: of any format that `create_model` reads.
        strict: a key that is missing, unknown or of another shape is an error.
        weights_only: not needed: nothing that a file brings is ever run.
        device: not needed: tensors go where the model is.

    Raises:
        RegistryError: what `registry.load` raises.
    """
    del weights_only, device
    report = registry.load(model, checkpoint_path, strict=strict)
    return IncompatibleKeys(report.missing, report.unexpected)
