"""The base class of models with two towers: what its methods refuse. Plugins' tests check their results."""

from __future__ import annotations

import pytest
import torch

from registry_core import BuildError, InputError


@pytest.fixture
def model(registry):
    return registry.create("tiny", False)


@pytest.fixture
def image():
    return torch.zeros(1, 3, 64, 64)


@pytest.mark.parametrize(("tower", "absent"), [("image", "text"), ("text", "image")])
def test_a_tower_that_is_absent(registry, tower, absent):
    model = registry.create("tiny", False, tower=tower)
    model.need(tower)
    expected = (
        rf"^This model has no {absent} tower: it was created with tower='{tower}'\. "
        rf"Create it without `tower=`, or with tower='{absent}'\.$"
    )
    with pytest.raises(BuildError, match=expected) as caught:
        model.need(absent)
    assert (caught.value.tower, caught.value.found) == (absent, tower)


def test_a_whole_model_has_both_towers(model):
    model.need("image")
    model.need("text")


def test_tokens_cannot_be_normalised(model, image):
    model.visual.output_tokens = True
    features, tokens = model.encode_image(image)
    assert (features.shape, tokens.shape) == ((1, 48), (1, 16, 64))
    expected = (
        r"^normalize=True: `visual\.output_tokens` is set, .*Nothing was returned\. Unset `visual\.output_tokens`, or"
    )
    with pytest.raises(InputError, match=expected) as caught:
        model.encode_image(image, normalize=True)
    assert caught.value.argument == "normalize"


class TestIntermediates:
    def test_another_layout_of_texts(self, model):
        expected = r"^text_output_fmt='NCL': text outputs are available as 'NLC' only\. Nothing was computed\.$"
        with pytest.raises(InputError, match=expected) as caught:
            model.forward_intermediates(text=torch.ones(1, 77, dtype=torch.int64), text_output_fmt="NCL")
        assert (caught.value.argument, caught.value.found) == ("text_output_fmt", "NCL")

    def test_logits_of_one_side(self, model, image):
        expected = (
            r"^output_logits=True: logits need both images and texts\. Nothing was computed\. Give both, or leave"
        )
        with pytest.raises(InputError, match=expected) as caught:
            model.forward_intermediates(image, output_logits=True)
        assert caught.value.argument == "output_logits"
        outputs = model.forward_intermediates(image, output_logits=True, intermediates_only=True)
        assert set(outputs) == {"image_intermediates"}

    @pytest.mark.parametrize(("tower", "absent"), [("image", "text"), ("text", "image")])
    def test_a_tower_that_is_absent(self, registry, image, tower, absent):
        model = registry.create("tiny", False, tower=tower)
        inputs = {"image": {"image": image}, "text": {"text": torch.ones(1, 77, dtype=torch.int64)}}
        assert set(model.forward_intermediates(**inputs[tower])) == {f"{tower}_intermediates", f"{tower}_features"}
        with pytest.raises(BuildError) as caught:
            model.forward_intermediates(**inputs[absent])
        assert caught.value.tower == absent
