"""Pictures of every mode and shape: sensible, or a typed error."""

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


def seeded(transform, picture):
    torch.manual_seed(0)
    random.seed(0)
    return transform(picture)


ALL = [evaluation(resize) for resize in RESIZE] + [training(), training(use_timm=True)]
every_transform = pytest.mark.parametrize("transform", ALL, ids=[*RESIZE, "training", "timm"])


@every_transform
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_three_channels_without_a_warning(transform, mode, noise):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = transform(noise(mode))
    assert got.shape == (3, 24, 24)
    assert got.dtype == torch.float32
    assert 0 <= got.min() < got.max() <= 1


@every_transform
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3), (5000, 2), (24, 24), (25, 23)])
def test_every_shape(transform, size, noise):
    got = transform(noise("RGB", size))
    assert got.shape == (3, 24, 24)
    assert got.isfinite().all()


@every_transform
@pytest.mark.parametrize("transparency", [0, b"\x00\x80\xff"], ids=["an index", "bytes"])
def test_a_palette_with_transparency(transform, transparency, noise):
    plain, picture = noise("P"), noise("P")
    picture.info["transparency"] = transparency
    expected = seeded(transform, plain)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = seeded(transform, picture)
    assert torch.equal(got, expected)
    assert picture.info["transparency"] == transparency


@pytest.mark.parametrize("transform", [evaluation("squash"), training(scale=(1.0, 1.0))], ids=["squash", "training"])
class TestSixteenBits:
    @pytest.mark.parametrize(("value", "expected"), [(0, 0), (65535, 1), (32768, 128 / 255), (255, 0)])
    @pytest.mark.parametrize("order", ["I;16", "I;16B"])
    def test_grey_keeps_its_brightness(self, transform, value, expected, order):
        data = np.full((24, 24), value, ">u2" if order == "I;16B" else "<u2").tobytes()
        got = transform(Image.frombytes(order, (24, 24), data))
        torch.testing.assert_close(got, torch.full((3, 24, 24), float(expected)))

    def test_a_file_is_read_so(self, transform, tmp_path):
        Image.fromarray(np.full((24, 24), 51 << 8, np.uint16)).save(tmp_path / "deep.png")
        with Image.open(tmp_path / "deep.png") as picture:
            torch.testing.assert_close(transform(picture), torch.full((3, 24, 24), 0.2))


@every_transform
class TestRefused:
    @pytest.mark.parametrize("mode", ["I", "F"])
    def test_values_without_a_range(self, transform, mode):
        with pytest.raises(
            InputError, match=rf"mode is '{mode}', whose values have no known range.*convert it to mode"
        ):
            transform(Image.new(mode, (30, 30), 7))

    @pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
    def test_no_pixels(self, transform, size):
        with pytest.raises(InputError, match=r"has no pixels: its width and height are \("):
            transform(Image.new("RGB", size))

    @pytest.mark.parametrize("given", ["cat.jpg", np.zeros((8, 8, 3)), torch.zeros(3, 8, 8), None, b"\x89PNG"])
    def test_no_picture(self, transform, given):
        with pytest.raises(InputError, match=rf"Expected a PIL image, got a {type(given).__name__}\..*Image\.open"):
            transform(given)


@every_transform
def test_a_mode_that_pillow_cannot_convert(transform, noise):
    with pytest.raises(InputError, match=r"Pillow cannot convert a picture of mode 'La' to RGB: .*Convert it to RGB"):
        transform(noise("La"))


def test_a_palette_with_an_alpha_channel_is_not_blended_by_index(noise):
    picture = noise("PA", (24, 24))
    expected = evaluation("squash", (12, 12))(picture.convert("RGBA"))
    assert torch.equal(evaluation("squash", (12, 12))(picture), expected)


@pytest.mark.parametrize("size", [(24, 24), (24, 48)])
@pytest.mark.parametrize("picture", [(1, 300_000), (300_000, 1)])
def test_a_picture_too_narrow_for_its_aspect_ratio_does_not_take_all_memory(size, picture):
    narrow = Image.new("RGB", picture)
    with pytest.raises(InputError, match=r"300000.* is too narrow: .* it would become .*resize_mode='longest'"):
        evaluation("shortest", size)(narrow)
    assert evaluation("longest", size)(narrow).shape == (3, *size)
    assert evaluation("squash", size)(narrow).shape == (3, *size)


def test_the_callers_picture_is_left_as_it_is(noise):
    picture = noise("P")
    before = picture.tobytes(), picture.mode, dict(picture.info)
    for transform in ALL:
        transform(picture)
    assert (picture.tobytes(), picture.mode, dict(picture.info)) == before
