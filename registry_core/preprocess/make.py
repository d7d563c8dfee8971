"""The image transform of a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from registry_core.preprocess.augmentation import AugmentationConfig, augmentation_config
from registry_core.preprocess.inference import InferenceTransform
from registry_core.preprocess.training import TrainingTransform

if TYPE_CHECKING:
    from registry_core.config.model import ModelConfig

Augmentation = AugmentationConfig | Mapping[str, Any]


def make_transform(
    config: ModelConfig, *, train: bool = False, augmentation: Augmentation | None = None
) -> InferenceTransform | TrainingTransform:
    """Return the transform that the `preprocess_cfg` and the image size of a config describe.

    Args:
        config: The config of the model.
        train: Return the random transform for training, instead of the one for evaluation.
        augmentation: The random changes in training; None means the default, a random crop only.

    Raises:
        OverrideError: The augmentation does not validate.
    """
    if train:
        return TrainingTransform(config.preprocess_cfg, config.image_size, augmentation_config(augmentation))
    return InferenceTransform(config.preprocess_cfg, config.image_size)
