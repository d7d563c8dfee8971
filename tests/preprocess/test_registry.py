"""registry.preprocess: tag, config and caller, merged."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from registry_core import OverrideError, PluginError, PreprocessConfig, UnknownWeightsError, hookimpl
from registry_core.preprocess.augmentation import AugmentationConfig


class TestTheCallersWord:
    def test_goes_before_the_tags_and_the_configs(self, registry):
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
        said = PreprocessConfig(
            size=(8, 6), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), interpolation="bilinear", resize_mode="squash",
            fill_color=3,
        )  # fmt: skip
        assert registry.preprocess("tiny", **said.model_dump()).config == said
        assert registry.preprocess("tiny", train=True, **said.model_dump()).config == said

    def test_for_a_derived_model(self, registry):
        model = registry.create("daclip_tiny", False, preprocess_cfg={"mean": [0.5, 0.5, 0.5]})
        made = registry.preprocess(model, resize_mode="squash")
        assert (made.config.mean, made.config.resize_mode) == ((0.5, 0.5, 0.5), "squash")

    @pytest.mark.parametrize(
        ("keys", "words"),
        [
            ({"resize": "squash"}, r"preprocess_cfg\.resize: unknown key\. Did you mean size, resize_mode\?"),
            ({"resize_mode": "crop"}, r"preprocess_cfg\.resize_mode: .*'shortest', 'longest' or 'squash', got 'crop'"),
            ({"mean": 0.5}, r"preprocess_cfg\.mean: .*got 0\.5"),
            ({"mean": (0.5, float("nan"), 0.5)}, r"preprocess_cfg\.mean: .*finite number, got nan"),
            ({"std": (0.5, 0.0, 0.5)}, r"preprocess_cfg\.std: .*greater than 0, got 0\.0"),
            ({"fill_color": 256}, r"preprocess_cfg\.fill_color: .*less than or equal to 255"),
            ({"size": 0}, r"preprocess_cfg\.size: .*greater than 0"),
            ({"mode": "L"}, r"preprocess_cfg\.mode: .*'RGB', got 'L'"),
        ],
    )
    def test_mistakes_are_named(self, registry, keys, words):
        with pytest.raises(OverrideError, match=words):
            registry.preprocess("tiny", **keys)
        with pytest.raises(OverrideError, match=words):
            registry.preprocess(registry.create("tiny", False), **keys)


class TestTraining:
    def test_has_the_models_size_mean_and_std(self, registry):
        model = registry.create("tiny", False, image_size=32, preprocess_cfg={"mean": [0.1, 0.2, 0.3]})
        made = registry.preprocess(model, train=True)
        assert (made.size, made.config.mean) == ((32, 32), (0.1, 0.2, 0.3))
        with torch.no_grad():
            assert model.encode_image(made(Image.new("RGB", (50, 40)))[None]).shape == (1, 48)

    @pytest.mark.parametrize("said", [{"scale": (0.4, 1.0)}, AugmentationConfig(scale=(0.4, 1.0))])
    def test_augmentation(self, registry, said):
        assert registry.preprocess("tiny", train=True, augmentation=said).augmentation.scale == (0.4, 1.0)

    def test_augmentation_without_training_is_an_error(self, registry):
        with pytest.raises(OverrideError, match="is for training, and train=True was not given"):
            registry.preprocess("tiny", augmentation={"scale": (0.4, 1.0)})

    def test_augmentation_that_is_wrong_is_an_error(self, registry):
        with pytest.raises(OverrideError, match=r"scael: unknown key\. Did you mean scale"):
            registry.preprocess("tiny", train=True, augmentation={"scael": (0.4, 1.0)})


class TestWhatIsMeant:
    def test_a_tag_beside_a_model_is_an_error(self, registry):
        model = registry.create("tiny", False)
        with pytest.raises(OverrideError, match="pretrained='openai' goes with a model's name"):
            registry.preprocess(model, "openai")

    def test_an_unknown_tag_is_an_error(self, registry):
        with pytest.raises(UnknownWeightsError, match=r"'opnai'.*Did you mean openai"):
            registry.preprocess("ViT-B-32", "opnai")


class TestOfAPlugin:
    """An architecture whose pictures a config cannot describe."""

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

    def test_its_own_transform_is_taken(self, registry, answering):
        asked = answering(len)
        assert registry.preprocess("tiny", train=True, mean=(0.5, 0.5, 0.5)) is len
        assert asked[0][0].preprocess_cfg.mean == (0.5, 0.5, 0.5)
        assert asked[0][1] is True

    def test_none_leaves_it_to_the_config(self, registry, answering):
        assert answering(None) == []
        assert registry.preprocess("tiny").size == (64, 64)

    def test_augmentation_cannot_go_into_it(self, registry, answering):
        answering(len)
        with pytest.raises(OverrideError, match="no effect: the plugin openai_clip brings a transform of its own"):
            registry.preprocess("tiny", train=True, augmentation={"scale": (0.4, 1.0)})

    def test_what_cannot_be_called_is_the_plugins_fault(self, registry, answering):
        answering("squash")
        with pytest.raises(PluginError, match="build_preprocess with a str, expected something that can be called"):
            registry.preprocess("tiny")
