"""The image transform of a model or a name, with the caller's overrides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from registry_core.config.model import ModelConfig
from registry_core.errors import OverrideError
from registry_core.preprocess.make import Augmentation, make_transform
from registry_core.resolve.pretrained import Pretrained
from registry_core.resolve.services import Services

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

_KEY = "preprocess_cfg"


def resolve_transform(
    services: Services,
    model: nn.Module | str,
    pretrained: Pretrained | None,
    overrides: Mapping[str, Any],
    *,
    train: bool = False,
    augmentation: Augmentation | None = None,
) -> Callable[[Image], Tensor]:
    """Return the image transform of a model. Its plugin may provide one.

    Raises:
        OverrideError: An argument does not validate, or has no effect.
        LookupFailedError: The name or the tag does not exist.
    """
    if augmentation is not None and not train:
        raise OverrideError(
            f"augmentation={augmentation!r} is for training, but train=True was not given. No transform was made.",
            argument="augmentation",
        )
    config = _config(services, model, pretrained, overrides)
    own = services.own_transform(config, train=train)
    if own is None:
        return make_transform(config, train=train, augmentation=augmentation)
    if augmentation is not None:
        raise OverrideError(
            f"augmentation={augmentation!r} would have no effect: the plugin {config.architecture} provides its own "
            "transform. No transform was made.",
            argument="augmentation",
            advice="Leave it out.",
        )
    return own


def _config(
    services: Services, model: nn.Module | str, pretrained: Pretrained | None, overrides: Mapping[str, Any]
) -> ModelConfig:
    """Return the config of the model, with what the tag states and then the caller's overrides applied."""
    found = None
    if isinstance(model, str):
        resolved = services.resolve(model)
        # Not the weights of a model repository: its config already states what they need.
        found = services.find_weights(resolved, pretrained or False)
        config = resolved.config
    elif pretrained is not None:
        raise OverrideError(
            f"pretrained={pretrained!r} belongs to a model's name; a created model has the preprocessing of its own "
            "weights. No transform was made.",
            argument="pretrained",
            advice="Leave it out, or give the name.",
        )
    else:
        config = services.config_of(model)
    given = {_KEY: overrides} if overrides else {}
    try:
        return services.apply_overrides(config, found, given).config
    except OverrideError as error:
        # The caller gave the keys of preprocess_cfg one by one.
        wrong = {key.split(".")[1] for key in error.problems if key.startswith(f"{_KEY}.")}
        error.argument = next((name for name in overrides if name in wrong), error.argument)
        raise
