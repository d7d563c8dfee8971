"""The steps that are subclasses of torchvision's."""

from __future__ import annotations

import pytest
from PIL import Image
from torchvision.transforms import InterpolationMode, RandomResizedCrop, Resize

from registry_core import InputError
from registry_core.preprocess.steps import CropImage, ResizeImage

STEPS = [ResizeImage(8, InterpolationMode.BICUBIC), ResizeImage([8, 6], InterpolationMode.BICUBIC), CropImage((8, 6))]


def test_they_are_steps_of_torchvision():
    assert issubclass(ResizeImage, Resize)
    assert issubclass(CropImage, RandomResizedCrop)


def test_an_int_is_the_size_of_the_shorter_side_and_a_pair_is_height_and_width():
    image = Image.new("RGB", (32, 16))
    assert [step(image).size for step in STEPS] == [(16, 8), (6, 8), (6, 8)]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("wrong", [None, "cat.jpg", Image.new("RGB", (0, 5)), Image.new("F", (5, 5))])
def test_they_refuse_what_cannot_be_transformed(step, wrong):
    with pytest.raises(InputError):
        step(wrong)


def test_a_narrow_image_is_refused_if_its_aspect_ratio_is_kept():
    narrow = Image.new("RGB", (1, 3_000_000))
    with pytest.raises(InputError) as caught:
        STEPS[0](narrow)
    assert caught.value.found == (1, 3_000_000)
    assert STEPS[1](narrow).size == (6, 8)
