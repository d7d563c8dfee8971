"""Image towers of timm: what they refuse. Their features are compared with open_clip's in tests/parity."""

from __future__ import annotations

import sys

import pytest
import torch

from registry_core import BuildError, InputError
from registry_core.config import TimmVisionConfig
from registry_core.towers.timm_tower import TimmTower

pytest.importorskip("timm")


@pytest.fixture
def tower():
    """Makes a TimmTower from the name of timm's model and keys of its config."""

    def make(name, image_size=64, **keys):
        config = TimmVisionConfig(timm_model_name=name, timm_pool="avg", image_size=image_size, **keys)
        return TimmTower(config, 24).eval()

    return make


class TestConstruction:
    def test_a_model_that_timm_lacks(self, tower):
        expected = r"^timm \S+ cannot create its model 'resnet19': .*Nothing was built\. .*pip install -U timm\.$"
        with pytest.raises(BuildError, match=expected) as caught:
            tower("resnet19")
        assert caught.value.name == "resnet19"

    def test_a_dropout_that_the_model_lacks(self, tower):
        expected = (
            r"'resnet18' does not accept all of patch_drop_rate \(.*Nothing was built\. Leave out patch_dropout, or"
        )
        with pytest.raises(BuildError, match=expected) as caught:
            tower("resnet18", patch_dropout=0.5)
        assert (caught.value.name, caught.value.found) == ("resnet18", ("patch_drop_rate",))

    def test_an_image_size_that_the_model_does_not_support(self, tower):
        expected = (
            r"'swin_tiny_patch4_window7_224' does not accept images of \[1, 1\] pixels: .* Use another image_size;"
        )
        with pytest.raises(BuildError, match=expected) as caught, torch.device("meta"):
            tower("swin_tiny_patch4_window7_224", image_size=1)
        assert (caught.value.argument, caught.value.found) == ("image_size", (1, 1))

    def test_the_library_is_not_installed(self, tower, monkeypatch):
        monkeypatch.setitem(sys.modules, "timm", None)
        expected = r"image tower of timm, and timm is not installed\. .*pip install 'registry_core\[timm\]'\.$"
        with pytest.raises(BuildError, match=expected) as caught:
            tower("resnet18")
        assert caught.value.name == "timm"


class TestInputs:
    @pytest.mark.parametrize(("name", "size"), [("resnet18", 64), ("vit_tiny_patch16_224", 224)])
    def test_that_are_no_batch_of_images(self, tower, name, size):
        tower, image = tower(name, size), torch.randn(1, 3, size, size)
        for wrong, found in (([image], "a list"), (image[0], [3, size, size])):
            with pytest.raises(InputError) as caught:
                tower(wrong)
            assert (caught.value.argument, caught.value.found) == ("image", found)

    @torch.no_grad()
    def test_of_another_size(self, tower):
        with pytest.raises(InputError) as caught:
            tower("vit_tiny_patch16_224", 224)(torch.randn(1, 3, 96, 224))
        assert (caught.value.expected, caught.value.found) == ("[N, 3, 224, 224]", [1, 3, 96, 224])
        assert tower("resnet18")(torch.randn(1, 3, 48, 64)).shape == (1, 24)


class TestSetInputSize:
    @pytest.mark.parametrize(("name", "smallest"), [("vit_tiny_patch16_224", 16), ("resnet18", 1)])
    def test_a_size_that_is_refused_changes_nothing(self, tower, name, smallest):
        tower = tower(name, 48)
        for size in (0, -16, "96", None, 1.5, (1, 2, 3), (48, 1.5), *([8] if smallest == 16 else [])):
            with pytest.raises(InputError) as caught:
                tower.set_input_size(size)
            assert (caught.value.argument, caught.value.found) == ("image_size", size)
            assert caught.value.expected == (smallest, smallest)
        assert tower(torch.randn(1, 3, 48, 48)).shape == (1, 24)

    def test_the_message(self, tower):
        expected = (
            r"^image_size=8: timm's vit_tiny_patch16_224 accepts images of at least 16 x 16 pixels; .*was changed\.$"
        )
        with pytest.raises(InputError, match=expected):
            tower("vit_tiny_patch16_224", 48).set_input_size(8)


class TestIntermediates:
    @pytest.fixture
    def model(self, registry):
        def make(name, size):
            vision = {"timm_model_name": name, "timm_pool": "avg", "image_size": size}
            text = {"context_length": 16, "vocab_size": 200, "width": 32, "heads": 2, "layers": 1}
            registry.add_config({"embed_dim": 24, "vision_cfg": vision, "text_cfg": text, "custom_text": True}, "timm")
            return registry.create("timm", False)

        return make

    @pytest.mark.parametrize(("name", "size"), [("resnet18", 64), ("vit_tiny_patch16_224", 224)])
    @torch.no_grad()
    def test_the_feature_is_that_of_the_tower(self, model, name, size):
        model, image = model(name, size), torch.randn(1, 3, size, size)
        outputs = model.forward_intermediates(image, image_output_extra_tokens=True, normalize=False)
        assert ("image_intermediates_prefix" in outputs) == (
            "vit" in name
        )  # a convolutional network has no such tokens
        torch.testing.assert_close(outputs["image_features"], model.encode_image(image))

    @pytest.mark.parametrize(("name", "size"), [("resnet18", 64), ("vit_tiny_patch16_224", 224)])
    @pytest.mark.parametrize(
        ("indices", "reason"), [([99], "feature index 99 is out of range"), (0, "out of range"), ([], "empty")]
    )
    def test_blocks_that_do_not_exist(self, model, name, size, indices, reason):
        with pytest.raises(InputError) as caught:
            model(name, size).forward_intermediates(torch.randn(1, 3, size, size), image_indices=indices)
        assert caught.value.name == name
        assert reason in caught.value.found

    def test_the_message_about_such_blocks(self, model):
        expected = r"^timm's resnet18 cannot return these intermediate outputs: .*99 is out of range.*was computed\.$"
        with pytest.raises(InputError, match=expected):
            model("resnet18", 64).forward_intermediates(torch.randn(1, 3, 64, 64), image_indices=[99])

    def test_the_feature_needs_the_last_stage(self, model):
        expected = (
            r"^stop_early=True: the feature of timm's resnet18 needs the last stage.* or select the last stage\.$"
        )
        with pytest.raises(InputError, match=expected) as caught:
            model("resnet18", 64).forward_intermediates(torch.randn(1, 3, 64, 64), image_indices=[1], stop_early=True)
        assert (caught.value.name, caught.value.argument) == ("resnet18", "stop_early")
