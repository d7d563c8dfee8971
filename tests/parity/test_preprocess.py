"""The same image becomes the same tensor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from registry_core import PreprocessConfig
from registry_core.preprocess.inference import InferenceTransform

open_clip = pytest.importorskip("open_clip")
pytestmark = pytest.mark.parity

from open_clip.transform import PreprocessCfg, image_transform, image_transform_v2  # noqa: E402

MODES = ["L", "RGBA", "P", "CMYK", "RGB"]
SIZES = [(201, 125), (33, 77), (32, 32), (17, 240), (300, 31), (500, 500), (31, 29)]
TARGETS = [(32, 32), (24, 48), (48, 24), (33, 31)]


def image(mode, size):
    """Noise over a gradient, with transparency if the mode has it."""
    width, height = size
    random = np.random.default_rng(width * 1000 + height)
    slope = np.linspace(0, 200, width)[None, :, None] * np.linspace(0.2, 1, height)[:, None, None]
    pixels = (slope + random.integers(0, 55, (height, width, 4))).astype(np.uint8)
    rgba = Image.fromarray(pixels, "RGBA") if mode == "RGBA" else Image.fromarray(pixels[..., :3])
    return rgba.convert(mode)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "random"])
@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
def test_evaluation(resize_mode, interpolation, target):
    keys = {"resize_mode": resize_mode, "interpolation": interpolation, "fill_color": 90}
    keys.update(mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    theirs = image_transform_v2(PreprocessCfg(size=target, **keys), is_train=False)
    ours = InferenceTransform(PreprocessConfig(**keys), target)
    for mode in MODES:
        for size in SIZES:
            got, expected = ours(image(mode, size)), theirs(image(mode, size))
            assert (got - expected).abs().max() <= 1e-6, f"{mode} {size}"


@pytest.mark.parametrize("mode", MODES)
def test_the_defaults(mode):
    given = image(mode, (201, 125))
    theirs = image_transform(32, is_train=False)
    torch.testing.assert_close(
        InferenceTransform(PreprocessConfig(), (32, 32))(given), theirs(given), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(
    ("name", "tag"), [("ViT-B-32", "openai"), ("ViT-L-14-CLIPA", "datacomp1b"), ("ViT-bigG-14-CLIPA-336", "datacomp1b")]
)
def test_a_tag(registry, name, tag):
    from open_clip.pretrained import get_pretrained_cfg
    from open_clip.transform import merge_preprocess_dict

    size = open_clip.get_model_config(name)["vision_cfg"]["image_size"]
    cfg = PreprocessCfg(**merge_preprocess_dict(PreprocessCfg(size=size), get_pretrained_cfg(name, tag)))
    given = image("RGB", (201, 125))
    theirs = image_transform_v2(cfg, is_train=False)
    torch.testing.assert_close(registry.preprocess(name, tag)(given), theirs(given), atol=1e-6, rtol=0)
