"""Which transform a config and the caller's words make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registry_core.errors import OverrideError
from registry_core.preprocess.augmentation import AugmentationConfig, augmentation_config
from registry_core.preprocess.inference import InferenceTransform
from registry_core.preprocess.training import TrainingTransform

if TYPE_CHECKING:
    from registry_core.config import ModelConfig

Augmentation = AugmentationConfig | Mapping[str, Any]


def make_transform(
    config: ModelConfig, *, train: bool = False, augmentation: Augmentation | None = None
) -> InferenceTransform | TrainingTransform:
    """The transform of a model's config.

    Args:
        config: its `preprocess_cfg` and picture size count.
        train: the random one.
        augmentation: what is random.

    Raises:
        OverrideError: an augmentation that does not validate, or one without `train`.
    """
    if train:
        return TrainingTransform(config.preprocess_cfg, config.image_size, augmentation_config(augmentation))
    if augmentation is not None:
        raise OverrideError(
            f"augmentation={augmentation!r} is for training, and train=True was not given. No transform was made."
        )
    return InferenceTransform(config.preprocess_cfg, config.image_size)
