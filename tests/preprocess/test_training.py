"""The training transform: what it does to images with known pixels."""

from __future__ import annotations

import multiprocessing
import pickle
import random
import subprocess
import sys

import pytest
import torch
from PIL import Image
from torchvision import transforms

from registry_core import BuildError, InputError, PreprocessConfig
from registry_core.preprocess.augmentation import AugmentationConfig
from registry_core.preprocess.training import TrainingTransform

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}  # leaves pixel values as they are
JITTER = {"color_jitter": (0.4, 0.4, 0.4, 0.1), "color_jitter_prob": 1.0}


def transform(size=(24, 24), config=PLAIN, **augmentation):
    return TrainingTransform(PreprocessConfig(**config), size, AugmentationConfig(**augmentation))


def seeded(made, image, seed):
    torch.manual_seed(seed)
    random.seed(seed)
    return made(image)


def test_each_seed_gives_another_crop(noise):
    image = noise("RGB", (80, 60))
    made = transform(scale=(0.3, 0.9))
    assert not torch.equal(seeded(made, image, 0), seeded(made, image, 1))
    assert torch.equal(seeded(made, image, 0), seeded(made, image, 0))


def test_a_scale_of_1_keeps_the_whole_image(noise):
    image = noise("RGB", (24, 24))
    whole = torch.tensor(list(image.tobytes())).view(24, 24, 3).permute(2, 0, 1) / 255
    torch.testing.assert_close(seeded(transform(scale=(1.0, 1.0)), image, 3), whole)


def test_mean_and_std():
    grey = Image.new("RGB", (30, 30), (51, 102, 153))
    got = transform(config={"mean": (0.2, 0.2, 0.2), "std": (0.5, 0.4, 0.2)})(grey)
    torch.testing.assert_close(got[:, 0, 0], torch.tensor([0.0, 0.5, 2.0]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(16, 32), (32, 16)])
@pytest.mark.parametrize("use_timm", [False, True])
def test_a_target_that_is_not_square(size, use_timm, noise):
    assert transform(size, use_timm=use_timm)(noise("RGB")).shape == (3, *size)


class TestProbabilities:
    def share_of_grey(self, image, **augmentation):
        made = transform(**augmentation)
        results = [seeded(made, image, seed) for seed in range(200)]
        return sum(torch.equal(r[0], r[1]) and torch.equal(r[1], r[2]) for r in results) / len(results)

    def test_grey_scale(self, noise):
        image = noise("RGB", (24, 24))
        assert self.share_of_grey(image) == 0
        assert 0.2 < self.share_of_grey(image, gray_scale_prob=0.3) < 0.4
        assert self.share_of_grey(image, gray_scale_prob=1.0) == 1

    def test_colour_jitter(self):
        image = Image.new("RGB", (30, 30), (90, 120, 60))
        plain = transform()(image)

        def share(probability):
            made = transform(color_jitter=(0.4, 0.4, 0.4, 0.1), color_jitter_prob=probability)
            return sum(not torch.equal(seeded(made, image, seed), plain) for seed in range(200)) / 200

        assert 0.4 < share(0.5) < 0.6
        assert share(1.0) > 0.95


class TestTimm:
    def test_erases_rectangles(self):
        white = Image.new("RGB", (40, 40), (255, 255, 255))
        made = transform(use_timm=True, re_prob=1.0)
        assert (seeded(made, white, 0) != 1).any()
        assert (seeded(transform(use_timm=True), white, 0) == 1).all()

    def test_never_mirrors(self):
        """A caption may mention left and right."""
        left = Image.new("RGB", (40, 40))
        left.paste((255, 255, 255), (0, 0, 12, 40))
        made = transform(use_timm=True, scale=(1.0, 1.0))
        for seed in range(20):
            got = seeded(made, left, seed)
            assert got[..., :6].mean() > 0.9
            assert got[..., -6:].mean() < 0.1

    def test_uses_the_configs_interpolation(self, noise):
        image = noise("RGB", (90, 90))
        one, other = (
            seeded(transform(config={**PLAIN, "interpolation": name}, use_timm=True), image, 5)
            for name in ("bilinear", "bicubic")
        )
        assert (one - other).abs().max() > 0.01

    def test_if_not_installed_the_error_names_the_command(self, noise, monkeypatch):
        monkeypatch.setitem(sys.modules, "timm", None)
        monkeypatch.setitem(sys.modules, "timm.data", None)
        made = transform(use_timm=True)
        with pytest.raises(BuildError, match=r"needs timm.*pip install 'registry_core\[timm\]'") as caught:
            made(noise("RGB"))
        assert caught.value.argument == "augmentation"


class TestPickling:
    @pytest.mark.parametrize("augmentation", [{}, JITTER, {"use_timm": True, "re_prob": 0.5}])
    @pytest.mark.parametrize("used", [False, True])
    def test_it_does_the_same(self, augmentation, used, noise):
        made = transform(**augmentation)
        if used:
            made(noise("RGB"))
        again = pickle.loads(pickle.dumps(made))
        assert repr(again) == repr(made)
        assert torch.equal(seeded(again, noise("RGB"), 4), seeded(made, noise("RGB"), 4))

    def test_in_worker_processes(self, noise):
        """In a spawned process, which inherits nothing from this one."""
        made = transform(scale=(0.3, 1.0), **JITTER)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            one, other = pool.map(made, [noise("RGB"), noise("RGB")])
        assert one.shape == (3, 24, 24)
        assert not torch.equal(one, other)


def test_its_repr_lists_the_settings():
    assert repr(transform((8, 6))) == (
        "TrainingTransform(8x6, scale=(0.9, 1.0), RGB, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))"
    )
    assert "scale=(0.9, 1.0), re_prob=0.5, use_timm=True, RGB" in repr(transform(use_timm=True, re_prob=0.5))
    shown = repr(transform(gray_scale_prob=0.2).transforms)
    assert "Sometimes(0.2, Grayscale(num_output_channels=3))" in shown


@pytest.mark.parametrize("use_timm", [False, True])
def test_its_steps_alone_do_and_refuse_the_same(use_timm, noise):
    made = transform(use_timm=use_timm)
    steps = transforms.Compose(made.transforms)
    for image in (noise("I;16"), noise("PA"), noise("RGB")):
        assert torch.equal(seeded(steps, image, 1), seeded(made, image, 1))
    for wrong in (None, torch.zeros(3, 8, 8), Image.new("RGB", (0, 5)), Image.new("I", (5, 5))):
        with pytest.raises(InputError):
            steps(wrong)


PROGRAM = """
import pickle, sys
sys.modules.update({name: None for name in ("torch", "torchvision", "PIL", "timm", "numpy")})
from registry_core import BuildError, registry
for made in (registry.preprocess("ViT-B-32", "openai"), registry.preprocess("ViT-B-32", train=True)):
    again = pickle.loads(pickle.dumps(made))
    print(again)
    try:
        again("cat.jpg")
    except BuildError as error:
        print(error)
"""


def test_nothing_is_imported_before_the_first_image():
    ran = subprocess.run([sys.executable, "-P", "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("InferenceTransform(224x224, bicubic, shortest, RGB")
    assert lines[2].startswith("TrainingTransform(224x224, scale=(0.9, 1.0), RGB")
    for line in (lines[1], lines[3]):
        assert "is not installed. Install them: pip install 'registry_core[image]'" in line
