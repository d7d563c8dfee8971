"""What training programs need in addition to models: a loss, and loading a checkpoint into a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from registry_core import OverrideError, registry

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["IncompatibleKeys", "create_loss", "load_checkpoint"]


def create_loss(args: Any) -> nn.Module:
    """Make the loss that the arguments of a training program ask for.

    Args:
        args: `model` is the name of the model, whose plugin or config decides on the loss. `distill` and `siglip`
            override it. The loss also uses `rank`, `world_size`, `local_loss`, `gather_with_grad`, `loss_dist_impl`,
            `coca_caption_loss_weight` and `coca_contrastive_loss_weight`.

    Raises:
        RegistryError: The model does not exist, or the arguments do not fit together.
    """
    given = {key: getattr(args, name) for key, name in _OPTIONS.items() if getattr(args, name, None) is not None}
    if getattr(args, "horovod", False):
        raise OverrideError(
            "The losses do not support horovod. No loss was made.",
            argument="horovod",
            found=args.horovod,
            advice="Train with torch.distributed (torchrun).",
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


# Option of `registry.loss` -> the training program's name for it.
_OPTIONS = {
    "rank": "rank",
    "world_size": "world_size",
    "local_loss": "local_loss",
    "gather_with_grad": "gather_with_grad",
    "dist_impl": "loss_dist_impl",
}
# Attribute of a loss that is the weight of a part -> the training program's name for it.
_WEIGHTS_OF_LOSSES = {
    "caption_loss_weight": "coca_caption_loss_weight",
    "clip_loss_weight": "coca_contrastive_loss_weight",
}


class IncompatibleKeys(NamedTuple):
    """The keys that only the model or only the checkpoint has."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_checkpoint(
    model: nn.Module,
    checkpoint_path: str | Path,
    strict: bool = True,
    weights_only: bool = True,
    device: str | torch.device = "cpu",
) -> IncompatibleKeys:
    """Load a checkpoint into a model, in place. Parameter names of other libraries are converted.

    Args:
        model: A model that the registry created.
        checkpoint_path: Path of a file in any format that `create_model` reads.
        strict: A missing key, an unknown key or a tensor of another shape is an error.
        weights_only: Ignored: code from a file is never run.
        device: Ignored: tensors are copied to the device of the model.

    Raises:
        RegistryError: As for `registry.load`.
    """
    del weights_only, device
    report = registry.load(model, checkpoint_path, strict=strict)
    return IncompatibleKeys(report.missing, report.unexpected)
