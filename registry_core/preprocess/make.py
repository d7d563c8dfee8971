"""Which transform a model, or a name and its tag, and the caller's words make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry_core.errors import OverrideError
from registry_core.preprocess.augmentation import AugmentationConfig, augmentation_config
from registry_core.preprocess.inference import InferenceTransform
from registry_core.preprocess.training import TrainingTransform
from registry_core.settle import settle
from registry_core.tags import Pretrained, find_weights

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor, nn

    from registry_core.companions import Companions
    from registry_core.config import ModelConfig

Augmentation = AugmentationConfig | Mapping[str, Any]
Transform = Callable[["Image"], "Tensor"]


@dataclass(frozen=True, slots=True)
class Words:
    """What the caller says.

    Attributes:
        train: the random transform is wanted.
        augmentation: what is random.
        overrides: keys of PreprocessConfig.
    """

    train: bool = False
    augmentation: Augmentation | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)


def transform_of(
    registry: Companions, model: nn.Module | str, pretrained: Pretrained | None, words: Words
) -> Transform:
    """The transform of a model; its owner may bring one of its own.

    Raises:
        OverrideError: an argument does not validate, or has no effect.
        LookupFailedError: the name or the tag leads nowhere.
    """
    if words.augmentation is not None and not words.train:
        raise OverrideError(
            f"augmentation={words.augmentation!r} is for training, and train=True was not given. No transform was made."
        )
    config = _config(registry, model, pretrained, words)
    own = registry.services.own_transform(config, train=words.train)
    if own is None:
        return make_transform(config, words)
    if words.augmentation is not None:
        raise OverrideError(
            f"augmentation={words.augmentation!r} would have no effect: the plugin {config.architecture} brings a "
            "transform of its own. No transform was made. Leave it out."
        )
    return own


def make_transform(config: ModelConfig, words: Words) -> InferenceTransform | TrainingTransform:
    """The transform that a config's `preprocess_cfg` and picture size say.

    Raises:
        OverrideError: an augmentation that does not validate.
    """
    if words.train:
        return TrainingTransform(config.preprocess_cfg, config.image_size, augmentation_config(words.augmentation))
    return InferenceTransform(config.preprocess_cfg, config.image_size)


def _config(registry: Companions, model: nn.Module | str, pretrained: Pretrained | None, words: Words) -> ModelConfig:
    """The model's, with what the tag and then the caller say laid over it."""
    services = registry.services
    weights = None
    if isinstance(model, str):
        resolved = services.resolve(model)
        # Not the weights that the name brings itself: its config says already what they need.
        found = find_weights(services.lookup, resolved, pretrained or False)
        config, weights = resolved.config, found.weights if found else None
    elif pretrained is not None:
        raise OverrideError(
            f"pretrained={pretrained!r} goes with a model's name; a created model has the preprocessing of its own "
            "weights. No transform was made. Leave it out, or give the name."
        )
    else:
        config = registry.report(model).config
    said = {"preprocess_cfg": words.overrides} if words.overrides else {}
    return settle(config, weights, said, lambda raw, origin: services.claim(raw, origin).config).config
