"""registry.preprocess: the settings of config, tag and caller are merged."""

from __future__ import annotations

import re

import pytest
import torch
from PIL import Image

from registry_core import OverrideError, PluginError, PreprocessConfig, UnknownWeightsError, hookimpl
from registry_core.preprocess.augmentation import AugmentationConfig


class TestOverrides:
    def test_of_the_caller_replace_those_of_the_tag_and_the_config(self, registry):
        by_tag = registry.preprocess("ViT-L-14-CLIPA", "datacomp1b")
        by_caller = registry.preprocess("ViT-L-14-CLIPA", "datacomp1b", resize_mode="longest", fill_color=9)
        assert (by_tag.config.resize_mode, by_tag.config.interpolation) == ("squash", "bilinear")
        assert by_caller.config == by_tag.config.model_copy(update={"resize_mode": "longest", "fill_color": 9})

    @pytest.mark.parametrize("size", [48, [48, 32], (48, 32)])
    def test_size(self, registry, size):
        expected = (48, 48) if size == 48 else (48, 32)
        assert registry.preprocess("tiny", size=size).size == expected
        model = registry.create("tiny", False)
        assert registry.preprocess(model, size=size).size == expected
        assert registry.preprocess(model).size == (64, 64)

    def test_every_key(self, registry):
        given = PreprocessConfig(
            size=(8, 6), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), interpolation="bilinear", resize_mode="squash",
            fill_color=3,
        )  # fmt: skip
        assert registry.preprocess("tiny", **given.model_dump()).config == given
        assert registry.preprocess("tiny", train=True, **given.model_dump()).config == given

    def test_for_a_derived_model(self, registry):
        model = registry.create("daclip_tiny", False, preprocess_cfg={"mean": [0.5, 0.5, 0.5]})
        made = registry.preprocess(model, resize_mode="squash")
        assert (made.config.mean, made.config.resize_mode) == ((0.5, 0.5, 0.5), "squash")

    @pytest.mark.parametrize(
        ("keys", "words"),
        [
            ({"resize": "squash"}, r"unknown key\. Did you mean size, resize_mode\?"),
            ({"resize_mode": "crop"}, r"'shortest', 'longest' or 'squash', got 'crop'"),
            ({"mean": 0.5}, r"got 0\.5"),
            ({"mean": (0.5, float("nan"), 0.5)}, r"finite number, got nan"),
            ({"std": (0.5, 0.0, 0.5)}, r"greater than 0, got 0\.0"),
            ({"fill_color": 256}, r"less than or equal to 255"),
            ({"size": 0}, r"greater than 0"),
            ({"mode": "L"}, r"'RGB', got 'L'"),
        ],
    )
    def test_mistakes_are_named(self, registry, keys, words):
        for model in ("tiny", registry.create("tiny", False)):
            with pytest.raises(OverrideError) as caught:
                registry.preprocess(model, **keys)
            ((key, problem),) = caught.value.problems.items()
            assert key == f"preprocess_cfg.{next(iter(keys))}"
            assert re.search(words, problem)


class TestTraining:
    def test_has_the_models_size_mean_and_std(self, registry):
        model = registry.create("tiny", False, image_size=32, preprocess_cfg={"mean": [0.1, 0.2, 0.3]})
        made = registry.preprocess(model, train=True)
        assert (made.size, made.config.mean) == ((32, 32), (0.1, 0.2, 0.3))
        with torch.no_grad():
            assert model.encode_image(made(Image.new("RGB", (50, 40)))[None]).shape == (1, 48)

    @pytest.mark.parametrize("given", [{"scale": (0.4, 1.0)}, AugmentationConfig(scale=(0.4, 1.0))])
    def test_augmentation(self, registry, given):
        assert registry.preprocess("tiny", train=True, augmentation=given).augmentation.scale == (0.4, 1.0)

    def test_augmentation_without_training_is_an_error(self, registry):
        with pytest.raises(OverrideError, match="is for training, but train=True was not given") as caught:
            registry.preprocess("tiny", augmentation={"scale": (0.4, 1.0)})
        assert caught.value.argument == "augmentation"

    def test_augmentation_that_is_wrong_is_an_error(self, registry):
        with pytest.raises(OverrideError) as caught:
            registry.preprocess("tiny", train=True, augmentation={"scael": (0.4, 1.0)})
        assert (caught.value.argument, caught.value.problems.keys()) == ("augmentation", {"scael"})


class TestMistakes:
    def test_a_tag_in_addition_to_a_model_is_an_error(self, registry):
        model = registry.create("tiny", False)
        with pytest.raises(OverrideError, match="pretrained='openai' belongs to a model's name") as caught:
            registry.preprocess(model, "openai")
        assert caught.value.argument == "pretrained"

    def test_an_unknown_tag_is_an_error(self, registry):
        with pytest.raises(UnknownWeightsError) as caught:
            registry.preprocess("ViT-B-32", "opnai")
        assert "openai" in caught.value.suggestions


class TestOfAPlugin:
    """An architecture whose images a config cannot describe."""

    @pytest.fixture
    def answering(self, registry):
        def make(answer):
            owner = registry.services.resolve("tiny").owner
            asked = []

            @hookimpl
            def build_preprocess(config, train):
                asked.append((config, train))
                return answer

            class Hook:
                function = staticmethod(build_preprocess)
                argnames = ("config", "train")

            owner.hooks = {**owner.hooks, "build_preprocess": Hook}
            return asked

        return make

    def test_its_own_transform_is_used(self, registry, answering):
        asked = answering(len)
        assert registry.preprocess("tiny", train=True, mean=(0.5, 0.5, 0.5)) is len
        assert asked[0][0].preprocess_cfg.mean == (0.5, 0.5, 0.5)
        assert asked[0][1] is True

    def test_none_leaves_it_to_the_config(self, registry, answering):
        assert answering(None) == []
        assert registry.preprocess("tiny").size == (64, 64)

    def test_augmentation_has_no_effect_on_it(self, registry, answering):
        answering(len)
        with pytest.raises(
            OverrideError, match="no effect: the plugin openai_clip provides its own transform"
        ) as caught:
            registry.preprocess("tiny", train=True, augmentation={"scale": (0.4, 1.0)})
        assert caught.value.argument == "augmentation"

    def test_a_transform_that_is_not_callable_is_an_error_of_the_plugin(self, registry, answering):
        answering("squash")
        with pytest.raises(PluginError, match="build_preprocess with a str, expected") as caught:
            registry.preprocess("tiny")
        assert (caught.value.plugin, caught.value.hook) == ("openai_clip", "build_preprocess")
