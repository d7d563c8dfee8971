"""Means and standard deviations of pixel values, and file names."""

from __future__ import annotations

from registry_core.config.model import OPENAI_MEAN as OPENAI_DATASET_MEAN
from registry_core.config.model import OPENAI_STD as OPENAI_DATASET_STD
from registry_core.fetch import CONFIG_FILENAME as HF_CONFIG_NAME
from registry_core.fetch import WEIGHTS_FILENAME as HF_SAFE_WEIGHTS_NAME

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INCEPTION_MEAN = INCEPTION_STD = (0.5, 0.5, 0.5)
HF_WEIGHTS_NAME = "open_clip_pytorch_model.bin"

__all__ = [
    "HF_CONFIG_NAME",
    "HF_SAFE_WEIGHTS_NAME",
    "HF_WEIGHTS_NAME",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "INCEPTION_MEAN",
    "INCEPTION_STD",
    "OPENAI_DATASET_MEAN",
    "OPENAI_DATASET_STD",
]
