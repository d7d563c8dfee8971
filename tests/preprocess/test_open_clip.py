"""With the same seeds, the training transform gives the same tensors as open_clip's."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
import torch

from registry_core import PreprocessConfig
from registry_core.preprocess.augmentation import augmentation_config
from registry_core.preprocess.training import TrainingTransform

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore:Unused augmentation cfg items")]

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transform = pytest.importorskip("open_clip.transform")

AUGMENTATIONS = {
    "default": None,
    "scale": {"scale": (0.4, 1.0)},
    "simclr": {"color_jitter": (0.32, 0.32, 0.32, 0.08), "color_jitter_prob": 0.8, "gray_scale_prob": 0.2},
    "timm": {"use_timm": True},
    "timm, all": {
        "use_timm": True, "scale": (0.3, 1.0), "ratio": (0.5, 2.0), "re_prob": 0.5, "re_count": 2, "color_jitter": 0.4,
    },
    "timm, three strengths": {"use_timm": True, "color_jitter": (0.4, 0.3, 0.2)},
}  # fmt: skip


def seeded(made, image, seed):
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - some transforms of timm use it
    return made(image)


@pytest.mark.parametrize("size", [(24, 24), (17, 31)])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "random"])
@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_training(name, interpolation, size, noise):
    given = AUGMENTATIONS[name]
    keys = {"interpolation": interpolation, "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)}
    ours = TrainingTransform(PreprocessConfig(**keys), size, augmentation_config(given))
    theirs = transform.image_transform(size, is_train=True, aug_cfg=dict(given or {}), **keys)
    for seed in range(10):
        image = noise("RGB", (31 + 7 * seed, 87 - 5 * seed), seed)
        difference = (seeded(ours, image, seed) - seeded(theirs, image, seed)).abs().max()
        assert difference <= 1e-6, f"seed {seed}"


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "LA", "1"])
def test_training_on_other_modes(mode, noise):
    ours = TrainingTransform(PreprocessConfig(), (24, 24), augmentation_config(AUGMENTATIONS["simclr"]))
    theirs = transform.image_transform((24, 24), is_train=True, aug_cfg=dict(AUGMENTATIONS["simclr"]))
    for seed in range(10):
        image = noise(mode, (33, 51), seed)
        assert (seeded(ours, image, seed) - seeded(theirs, image, seed)).abs().max() <= 1e-6
