"""The evaluation transform: what it does to images with known pixels."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from registry_core import OverrideError, PreprocessConfig
from registry_core.preprocess.inference import InferenceTransform

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}  # leaves pixel values as they are


def transform(size=(8, 8), **keys):
    return InferenceTransform(PreprocessConfig(**{**PLAIN, **keys}), size)


def striped(width, height):
    """Red rises from left to right, green from top to bottom."""
    red = np.linspace(0, 255, width, dtype=np.uint8)[None, :].repeat(height, 0)
    green = np.linspace(0, 255, height, dtype=np.uint8)[:, None].repeat(width, 1)
    return Image.fromarray(np.stack([red, green, np.full_like(red, 128)], axis=-1))


@settings(deadline=None)
@given(
    image_size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    size=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    mode=st.sampled_from(["L", "RGBA", "P", "CMYK", "RGB", "LA", "1"]),
    resize=st.sampled_from(["shortest", "longest", "squash"]),
    interpolation=st.sampled_from(["bicubic", "bilinear", "random"]),
)
def test_any_image_becomes_a_tensor_of_the_size(image_size, size, mode, resize, interpolation):
    got = transform(size, resize_mode=resize, interpolation=interpolation)(striped(*image_size).convert(mode))
    assert got.shape == (3, *size)
    assert got.dtype == torch.float32
    assert got.min() >= 0
    assert got.max() <= 1


def test_mean_and_std_are_by_channel():
    red = Image.new("RGB", (8, 8), (255, 0, 51))
    got = transform(mean=(0.5, 0.25, 0.2), std=(0.5, 0.5, 0.1))(red)
    torch.testing.assert_close(got[:, 0, 0], torch.tensor([1.0, -0.5, 0.0]), atol=1e-6, rtol=0)


def test_shortest_crops_the_centre():
    got = transform(resize_mode="shortest")(striped(32, 8))
    assert got[0].min() > 0.3  # the left and right thirds are cut off
    assert got[0].max() < 0.7
    assert got[1].min() < 0.1  # the full height is kept
    assert got[1].max() > 0.9


def test_longest_pads_with_the_fill_colour():
    got = transform(resize_mode="longest", fill_color=255)(Image.new("RGB", (32, 8), (0, 0, 0)))
    rows = got.mean(dim=(0, 2))
    assert rows.tolist() == [1.0] * 3 + [0.0] * 2 + [1.0] * 3


def test_squash_keeps_everything():
    got = transform(resize_mode="squash")(striped(32, 8))
    for channel in got[:2]:
        assert channel.min() < 0.1
        assert channel.max() > 0.9


@pytest.mark.parametrize("resize", ["shortest", "longest", "squash"])
def test_a_target_that_is_not_square(resize):
    got = transform((6, 12), resize_mode=resize)(striped(24, 12))
    assert got.shape == (3, 6, 12)
    assert got[0, 0, 0] < got[0, 0, -1]
    assert got[1, 0, 0] < got[1, -1, 0]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA", "I;16"])
def test_any_mode_becomes_rgb(mode):
    image = Image.new("L", (8, 8), 255).convert(mode) if mode != "I;16" else Image.new("I;16", (8, 8), 200)
    assert transform()(image).shape == (3, 8, 8)


def test_bilinear_differs_from_bicubic():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    bicubic = transform(interpolation="bicubic")(image)
    assert (transform(interpolation="bilinear")(image) - bicubic).abs().max() > 0.01
    assert torch.equal(transform(interpolation="random")(image), bicubic)


def test_its_repr_lists_the_settings():
    text = repr(transform((8, 6), resize_mode="squash"))
    assert text == "InferenceTransform(8x6, bicubic, squash, RGB, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))"


def test_it_can_be_pickled():
    image = striped(20, 10)
    again = pickle.loads(pickle.dumps(transform()))
    assert torch.equal(again(image), transform()(image))


class TestOfARegistry:
    def test_a_tag_sets_the_preprocessing(self, registry):
        plain = registry.preprocess("ViT-B-32")
        tagged = registry.preprocess("ViT-B-32", "openai")
        assert repr(plain) == repr(tagged)
        clipa = registry.preprocess("ViT-L-14-CLIPA", "datacomp1b")
        assert clipa.config.resize_mode == "squash"
        assert clipa.config.interpolation == "bilinear"

    def test_a_model_has_its_own(self, registry):
        model = registry.create("tiny", False, image_size=32, preprocess_cfg={"mean": [0.1, 0.2, 0.3]})
        made = registry.preprocess(model)
        assert made.size == (32, 32)
        assert made.config.mean == (0.1, 0.2, 0.3)
        with torch.no_grad():
            assert model.encode_image(made(striped(50, 40))[None]).shape == (1, 48)

    def test_the_preprocessing_size_overrides_the_size_of_the_tower(self, registry):
        model = registry.create("tiny", False, preprocess_cfg={"size": [48, 32]})
        assert registry.preprocess(model).size == (48, 32)

    @pytest.mark.parametrize(("argument", "value"), [("size", "x"), ("std", 0), ("resize_mode", "wide"), ("sise", 32)])
    def test_an_error_names_the_caller_s_argument(self, registry, argument, value):
        with pytest.raises(OverrideError) as caught:
            registry.preprocess("tiny", mean=[0, 0, 0], **{argument: value})
        assert caught.value.argument == argument
        assert set(caught.value.problems) == {f"preprocess_cfg.{argument}"}
