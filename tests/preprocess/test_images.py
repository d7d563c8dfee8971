"""Images of every mode and shape are transformed, or refused with an InputError."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from registry_core import InputError, PreprocessConfig
from registry_core.preprocess.augmentation import AugmentationConfig
from registry_core.preprocess.inference import InferenceTransform
from registry_core.preprocess.training import TrainingTransform

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}  # leaves pixel values as they are
RESIZE = ["shortest", "longest", "squash"]
MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I;16", "I;16B"]


def evaluation(resize="shortest", size=(24, 24)):
    return InferenceTransform(PreprocessConfig(resize_mode=resize, **PLAIN), size)


def training(size=(24, 24), **augmentation):
    return TrainingTransform(PreprocessConfig(**PLAIN), size, AugmentationConfig(**augmentation))


def seeded(transform, image):
    torch.manual_seed(0)
    random.seed(0)
    return transform(image)


ALL = [evaluation(resize) for resize in RESIZE] + [training(), training(use_timm=True)]
EVERY_TRANSFORM = pytest.mark.parametrize("transform", ALL, ids=[*RESIZE, "training", "timm"])


@EVERY_TRANSFORM
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_three_channels_without_a_warning(transform, mode, noise):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = transform(noise(mode))
    assert got.shape == (3, 24, 24)
    assert got.dtype == torch.float32
    assert 0 <= got.min() < got.max() <= 1


@EVERY_TRANSFORM
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3), (5000, 2), (24, 24), (25, 23)])
def test_every_shape(transform, size, noise):
    got = transform(noise("RGB", size))
    assert got.shape == (3, 24, 24)
    assert got.isfinite().all()


@EVERY_TRANSFORM
@pytest.mark.parametrize("transparency", [0, b"\x00\x80\xff"], ids=["an index", "bytes"])
def test_a_palette_with_transparency(transform, transparency, noise):
    plain, image = noise("P"), noise("P")
    image.info["transparency"] = transparency
    expected = seeded(transform, plain)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = seeded(transform, image)
    assert torch.equal(got, expected)
    assert image.info["transparency"] == transparency


@pytest.mark.parametrize("transform", [evaluation("squash"), training(scale=(1.0, 1.0))], ids=["squash", "training"])
class TestSixteenBits:
    @pytest.mark.parametrize(("value", "expected"), [(0, 0), (65535, 1), (32768, 128 / 255), (255, 0)])
    @pytest.mark.parametrize("order", ["I;16", "I;16B"])
    def test_grey_keeps_its_brightness(self, transform, value, expected, order):
        data = np.full((24, 24), value, ">u2" if order == "I;16B" else "<u2").tobytes()
        got = transform(Image.frombytes(order, (24, 24), data))
        torch.testing.assert_close(got, torch.full((3, 24, 24), float(expected)))

    def test_the_same_holds_for_a_file(self, transform, tmp_path):
        Image.fromarray(np.full((24, 24), 51 << 8, np.uint16)).save(tmp_path / "deep.png")
        with Image.open(tmp_path / "deep.png") as image:
            torch.testing.assert_close(transform(image), torch.full((3, 24, 24), 0.2))


@EVERY_TRANSFORM
class TestRefused:
    @pytest.mark.parametrize("mode", ["I", "F"])
    def test_values_without_a_range(self, transform, mode):
        with pytest.raises(
            InputError, match=rf"mode is '{mode}', whose values have no known range.*convert it to mode"
        ):
            transform(Image.new(mode, (30, 30), 7))

    @pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
    def test_no_pixels(self, transform, size):
        with pytest.raises(InputError, match=r"has no pixels: its width and height are \(") as caught:
            transform(Image.new("RGB", size))
        assert caught.value.found == size

    @pytest.mark.parametrize("given", ["cat.jpg", np.zeros((8, 8, 3)), torch.zeros(3, 8, 8), None, b"\x89PNG"])
    def test_an_object_that_is_not_an_image(self, transform, given):
        with pytest.raises(InputError, match=rf"Expected a PIL image, got a {type(given).__name__}\..*Image\.open"):
            transform(given)


@EVERY_TRANSFORM
def test_a_mode_that_pillow_cannot_convert(transform, noise):
    with pytest.raises(
        InputError, match=r"Pillow cannot convert an image of mode 'La' to RGB: .*Convert it to RGB"
    ) as caught:
        transform(noise("La"))
    assert caught.value.found == "La"


def test_a_palette_with_an_alpha_channel_is_not_blended_by_index(noise):
    image = noise("PA", (24, 24))
    expected = evaluation("squash", (12, 12))(image.convert("RGBA"))
    assert torch.equal(evaluation("squash", (12, 12))(image), expected)


@pytest.mark.parametrize("size", [(24, 24), (24, 48)])
@pytest.mark.parametrize("image_size", [(1, 300_000), (300_000, 1)])
def test_a_narrow_image_does_not_use_all_memory(size, image_size):
    narrow = Image.new("RGB", image_size)
    with pytest.raises(
        InputError, match=r"300000.* is too narrow: .* it would become .*resize_mode='longest'"
    ) as caught:
        evaluation("shortest", size)(narrow)
    assert caught.value.found == image_size
    assert evaluation("longest", size)(narrow).shape == (3, *size)
    assert evaluation("squash", size)(narrow).shape == (3, *size)


def test_the_callers_image_is_not_changed(noise):
    image = noise("P")
    before = image.tobytes(), image.mode, dict(image.info)
    for transform in ALL:
        transform(image)
    assert (image.tobytes(), image.mode, dict(image.info)) == before
